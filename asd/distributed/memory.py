"""Work that may not fit a device's memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from asd.errors import UserError

GIB = 2**30
OF_CPU = "DefaultCPUAllocator"  # in the words of a RuntimeError


@contextmanager
def enough_memory(device: torch.device, what: str, remedy: str) -> Iterator[None]:
    """UserError of this rank where the work inside finds no room on the device; remedy: what takes less."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not isinstance(error, torch.OutOfMemoryError) and OF_CPU not in str(error):
            raise
        room = ""
        if device.type == "cuda":
            free, total = torch.cuda.mem_get_info(device)
            room = f" ({free / GIB:.3g} of {total / GIB:.3g} GiB are free)"
        raise UserError(f"{what} does not fit the memory of {device}{room}: {remedy}", every_rank=True) from None
