"""What a training step is made of: operators by name, the optimiser alone, and the least time a device could take.

The roofline is that of eager execution: every operator reads its inputs and writes its outputs once, and takes the
longer of its bytes at the device's bandwidth and its arithmetic at the device's matmul speed. Both speeds are measured
here by a large copy and a large matmul in the step's precision, so no table of cards is needed. Depth-wise
convolutions count their own products alone (`torch.utils.flop_counter` over-counts their gradients).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.speed.steps import Session, synchronise

PRODUCTS = {  # factor on the products of one forward convolution or matmul
    torch.ops.aten.convolution.default: 1,
    torch.ops.aten.convolution_backward.default: 2,
    torch.ops.aten.mm.default: 1,
    torch.ops.aten.addmm.default: 1,
    torch.ops.aten.bmm.default: 1,
}
FLAVOURS: dict[str, dict[str, bool]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "for-loop": {"foreach": False, "fused": False},
}


@dataclass(frozen=True)
class Costs:
    """Of one step."""

    operators: int
    launches: int  # kernels; 0 on a CPU
    largest: list[tuple[str, float]]  # name and share of the three largest

    def words(self) -> str:
        return ", ".join(f"`{name}` {share:.0%}" for name, share in self.largest)


def costs(session: Session, trace: Path | None = None) -> Costs:
    """Profile one step; the trace can be opened in a browser's tracing page or Perfetto."""
    cuda = session.trainer.ranks.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as seen:
        session.trainer.take(1)
        synchronise(session.trainer.ranks.device)
    session.trainer.clock.read()
    if trace is not None:
        seen.export_chrome_trace(str(trace))
    rows = seen.key_averages()
    own = {row.key: row.self_device_time_total if cuda else row.self_cpu_time_total for row in rows}
    if cuda:  # the time of kernels, not that of operators, which have them too
        card = torch.autograd.DeviceType.CUDA
        kernels = {row.key for row in rows if row.device_type == card and not row.is_user_annotation}
        own = {name: spent for name, spent in own.items() if name in kernels}
    total = sum(own.values()) or 1
    largest = sorted(own.items(), key=lambda item: -item[1])[:3]
    return Costs(
        operators=sum(row.count for row in rows if row.key.startswith("aten::")),
        launches=sum(row.count for row in rows if "LaunchKernel" in row.key),
        largest=[(name[:60], spent / total) for name, spent in largest],
    )


def optimiser_ms(parameters: list[nn.Parameter], repeats: int = 5) -> dict[str, float]:
    """Median milliseconds of an Adam step over a network's parameters, by implementation."""
    copies = [nn.Parameter(p.detach().clone()) for p in parameters]
    for p in copies:
        p.grad = torch.full_like(p, 1e-3)
    found = {}
    for name, words in FLAVOURS.items():
        optimiser = torch.optim.Adam(copies, lr=1e-4, **words)  # type: ignore[arg-type]
        found[name] = 1000 * median_s(optimiser.step, copies[0].device, repeats)
    return found


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


@dataclass
class Work:
    """What a step asks of a device."""

    flops: float = 0.0
    bytes: float = 0.0
    roofline_s: float = 0.0


class Counter(TorchDispatchMode):
    """Adds up the work of every operator that runs inside, of forward and backward pass alike."""

    def __init__(self, peaks: Peaks) -> None:
        super().__init__()
        self.work, self._peaks = Work(), peaks

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not _moves_nothing(func):
            flops, moved = products(func, args, out), _bytes((args, kwargs)) + _bytes(out)
            self.work.flops += flops
            self.work.bytes += moved
            self.work.roofline_s += max(flops / self._peaks.flops, moved / self._peaks.bytes)
        return out


def count_work(session: Session, peaks: Peaks) -> Work:
    """The work of one whole step of a trainer."""
    with Counter(peaks) as counter:
        session.trainer.take(1)
    session.trainer.clock.read()
    return counter.work


def products(func: Any, args: Any, out: Any) -> float:
    """Floating-point operations of a convolution or matmul, 0 for anything else."""
    factor = PRODUCTS.get(func, 0)
    if not factor:
        return 0.0
    if func is torch.ops.aten.convolution_backward.default:
        grad, weight, wanted = args[0], args[2], sum(args[-1][:2])
        return 2.0 * wanted * grad.numel() * math.prod(weight.shape[1:])
    if func is torch.ops.aten.convolution.default:
        return 2.0 * out.numel() * math.prod(args[1].shape[1:])
    inner = args[-2].shape[-1]  # of (…, mat1, mat2)
    return 2.0 * out.numel() * inner


def _moves_nothing(func: Any) -> bool:
    """Views, and memory that is only reserved."""
    returns = func._schema.returns
    view = bool(returns) and returns[0].alias_info is not None and not returns[0].alias_info.is_write
    return view or "empty" in func._schema.name or "detach" in func._schema.name


def _bytes(tree: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tree_leaves(tree) if isinstance(t, Tensor))
