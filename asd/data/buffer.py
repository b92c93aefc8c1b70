"""A block of samples that is filled again and again. Legend: P batches, n clips of each, C channels, T samples."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from asd.data.batch import Batch

Form = tuple[int, int, int]  # of a batch: C, n, T


class Buffer:
    """Refilled only after the copy to the device has finished."""

    def __init__(self, pinned: bool) -> None:
        self._pinned = pinned
        self._samples = torch.empty(0, dtype=torch.int16)
        self._copied: torch.cuda.Event | None = None
        self._views: dict[tuple[int, Form], tuple[np.ndarray, list[tuple[Tensor, ...]]]] = {}

    def cut(self, batches: int, form: Form) -> tuple[np.ndarray, list[tuple[Tensor, ...]]]:
        """The rows (C, P·n, T) of batches of one form, and of each batch the same rows, C times (n, T).

        Views are kept: in making one torch lets go of the interpreter's lock, for which a reader then waits until the
        training thread stops to give it away.
        """
        if self._copied is not None:
            self._copied.synchronize()
        channels, clips, length = form
        size = batches * math.prod(form)
        if self._samples.numel() < size:
            self._samples = torch.empty(size, dtype=torch.int16, pin_memory=self._pinned)
            self._views.clear()
        if (batches, form) not in self._views:
            whole = self._samples[:size].view(channels, batches * clips, length)
            self._views[batches, form] = whole.numpy(), [own.unbind() for own in whole.split(clips, 1)]
        return self._views[batches, form]

    def pin(self, column: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(column))
        return tensor.pin_memory() if self._pinned else tensor

    def hand_over(self, batch: Batch, device: torch.device) -> Batch:
        """The batch on the device."""
        if not self._pinned:
            return batch
        moved = batch.to(device)
        self._copied = torch.cuda.Event()
        self._copied.record()
        return moved
