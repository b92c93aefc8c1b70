"""Where the samples of a set lie while a run trains: in its tars, in memory of the node, or on each device."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil
import torch

from asd.errors import UserError

Resident = Literal["auto", "off", "host", "device"]
Place = Literal["off", "host", "device"]
GIB = 2**30
SHARE = 0.5  # of what is free, that `auto` takes at most: the rest is for the training
CGROUP = Path("/sys/fs/cgroup")


def choose(wanted: Resident, size: int, device: torch.device) -> Place:
    """For so many bytes on this rank. UserError where the place that was asked for has too little room."""
    if wanted == "off" or (wanted == "device" and device.type != "cuda"):
        if wanted == "device":
            raise UserError("data.resident=device needs a GPU, this run is on the CPU: name host, auto or off")
        return "off"
    rooms = {"host": free_host_bytes()} | ({"device": free_device_bytes(device)} if device.type == "cuda" else {})
    if wanted != "auto":
        if size > rooms[wanted]:
            raise UserError(
                f"data.resident={wanted}: the set has {size / GIB:.3g} GiB and {rooms[wanted] / GIB:.3g} GiB are free "
                f"({device if wanted == 'device' else 'memory of this node'}): name data.resident=auto or off"
            )
        return wanted
    fitting = [place for place in ("device", "host") if size <= SHARE * rooms.get(place, 0)]
    return fitting[0] if fitting else "off"  # type: ignore[return-value]


def free_host_bytes() -> int:
    """What this process may still take: of the machine, or of its container where that has a limit."""
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no limit reads "max"
        limit, used = (int((CGROUP / name).read_text(encoding="utf-8")) for name in ("memory.max", "memory.current"))
        free = min(free, limit - used)
    return max(0, free)


def free_device_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0]
