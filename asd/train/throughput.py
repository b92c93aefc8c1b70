"""How fast training goes, over one logging interval."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class IntervalTimer:
    """Clips, seconds and waits since the last reading."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._restart()

    def add(self, clips: int, wait_s: float) -> None:
        """Count one step of this rank: its share of clips and the seconds it waited for data."""
        self._steps += 1
        self._clips += clips
        self._wait_s += wait_s

    def read(self) -> dict[str, float]:
        """Numbers of this rank since the last call; the caller sums or maximises them over ranks."""
        seconds = max(time.perf_counter() - self._begin, 1e-9)
        record = {
            "clips_per_s_per_rank": self._clips / seconds,
            "step_s": seconds / max(self._steps, 1),
            "data_wait_s": self._wait_s / max(self._steps, 1),
            "data_wait_percent": 100 * self._wait_s / seconds,
            "peak_mem_gib": peak_memory_gib(self._device),
        }
        self._restart()
        return record

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens inside: saving, evaluation."""
        begin = time.perf_counter()
        yield
        self._begin += time.perf_counter() - begin

    def _restart(self) -> None:
        self._begin, self._steps, self._clips, self._wait_s = time.perf_counter(), 0, 0, 0.0


def peak_memory_gib(device: torch.device) -> float:
    """Most memory used so far: of the GPU's allocator, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
