"""Time spent on the parts of a training step, over one logging interval."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Part = Literal["forward", "backward", "update"]  # backward: with the exchange of gradients; update: with clipping
PARTS: tuple[Part, ...] = ("forward", "backward", "update")


class Clock:
    """Clips, waits for data and seconds of the parts of steps since the last reading; a GPU's by events, read then."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._restart()

    @contextmanager
    def time(self, part: Part) -> Iterator[None]:
        """Add what happens inside to a part of the step."""
        if self._device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            yield
            end.record()
            self._events.append((part, begin, end))
        else:
            started = time.perf_counter()
            yield
            self._spent[part] += time.perf_counter() - started

    def add(self, clips: int, wait_s: float) -> None:
        """Count one step of this rank: its share of clips and the seconds it waited for data."""
        self._steps += 1
        self._clips += clips
        self._wait_s += wait_s

    def read(self) -> dict[str, float]:
        """Numbers of this rank since the last call, seconds by step; the caller takes mean or maximum over ranks."""
        for part, begin, end in self._events:
            end.synchronize()
            self._spent[part] += begin.elapsed_time(end) / 1000
        seconds, steps = max(time.perf_counter() - self._begin, 1e-9), max(self._steps, 1)
        record = {
            "clips_per_s_per_rank": self._clips / seconds,
            "step_s": seconds / steps,
            "data_wait_s": self._wait_s / steps,
            "data_wait_percent": 100 * self._wait_s / seconds,
            **{f"{part}_s": spent / steps for part, spent in self._spent.items()},
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
        self._spent = dict.fromkeys(PARTS, 0.0)
        self._events: list[tuple[Part, torch.cuda.Event, torch.cuda.Event]] = []


def peak_memory_gib(device: torch.device) -> float:
    """Most memory used so far: of the GPU's allocator, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
