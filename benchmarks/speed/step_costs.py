"""The least time that a device could take for a training step.

The roofline is that of eager execution: every operator reads its inputs and writes its outputs once, and takes the
longer of its bytes at the device's bandwidth and its arithmetic at the device's matmul speed. Both speeds are measured
here by a large copy and a large matmul in the step's precision, so no table of cards is needed. Depth-wise
convolutions count their own products alone (`torch.utils.flop_counter` over-counts their gradients).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from asd.train.work import products
from benchmarks.speed.steps import synchronise


def median_s(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median seconds of a piece of work, after one call that does not count."""
    work()
    spent = []
    for _ in range(repeats):
        synchronise(device)
        begin = time.perf_counter()
        work()
        synchronise(device)
        spent.append(time.perf_counter() - begin)
    return sorted(spent)[repeats // 2]


@dataclass(frozen=True)
class Peaks:
    """What a device can do."""

    flops: float  # per second, in a matmul
    bytes: float  # per second, read and written by a copy


def measure_peaks(device: torch.device, dtype: torch.dtype, size: int) -> Peaks:
    """By matrices of size × size, and a copy of 64 times their bytes."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    block = torch.empty(64 * size * size, dtype=dtype, device=device).zero_()
    other = torch.empty_like(block).zero_()
    copied = 2 * block.numel() * block.element_size()
    return Peaks(
        flops=2 * size**3 / median_s(lambda: a @ b, device, 5),
        bytes=copied / median_s(lambda: other.copy_(block), device, 5),
    )


class Counter(TorchDispatchMode):
    """Adds up the work of every operator that runs inside, of forward and backward pass alike."""

    def __init__(self, peaks: Peaks) -> None:
        super().__init__()
        self.peaks, self.flops, self.bytes, self.roofline_s = peaks, 0.0, 0.0, 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not _moves_nothing(func):
            flops, moved = products(func, args, kwargs or {}, out), _bytes((args, kwargs)) + _bytes(out)
            self.flops += flops
            self.bytes += moved
            self.roofline_s += max(flops / self.peaks.flops, moved / self.peaks.bytes)
        return out


def _moves_nothing(func: Any) -> bool:
    """Views, and memory that is only reserved."""
    returns = func._schema.returns
    view = bool(returns) and returns[0].alias_info is not None and not returns[0].alias_info.is_write
    return view or "empty" in func._schema.name or "detach" in func._schema.name


def _bytes(tree: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tree_leaves(tree) if isinstance(t, Tensor))
