"""Training steps on one GPU: ways to take them, every config without a wait for the device, where the time goes.

make gpu: some minutes, and docs/gpu.json with what was found.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from asd.distributed.device import choose_precision
from asd.errors import UserError
from asd.train.clock import peak_memory_gib
from benchmarks.speed.measure import interleaved, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.plain_loop import plain_clips_per_s
from benchmarks.speed.step_costs import Counter, Peaks, measure_peaks
from benchmarks.speed.steps import CONFIGS, Session, Setting, make_set, sessions
from benchmarks.speed.training import ALL_TYPES

CONSOLE = Console()
GAIN = 1.03  # a batch of twice the size must be so much faster to be the better one
LARGEST = 3  # kernels that are named
SYNC_STEPS = 3
EAGER, RESIDENT, PLAIN = "eager, from the tars", "eager, set on the device", "a plain loop"


@dataclass(frozen=True)
class Sizes:
    """How much is measured: a test takes less."""

    configs: Mapping[str, Setting]
    eager_goals: Mapping[str, float]  # of the eager roofline
    steps: int = 20
    warm_up: int = 5
    clips: int = 40  # of each of 41 classes
    clip_s: float = 10.0
    largest_batch: int = 512
    matrix: int = 8192  # of the matmul that measures the device
    compiled: tuple[str, ...] = ("default", "reduce-overhead")
    resident: str = "device"
    every_batch: int = 64
    every: tuple[str, ...] = tuple(sorted(path.stem for path in CONFIGS.glob("*.yaml")))


SIZES = Sizes(
    {
        "dcase2020_integrated": Setting("dcase2020_integrated", 64),
        "tastgram_noisy_arcmix_paper": Setting("tastgram_noisy_arcmix_paper", 64),
        "mobilenet_v2": Setting("mobilenet_v2", 64, words=ALL_TYPES),
        "multi_branch_dcase2020": Setting("multi_branch_dcase2020", 64),
    },
    {
        "dcase2020_integrated": 0.7,
        "tastgram_noisy_arcmix_paper": 0.5,
        "mobilenet_v2": 0.5,
        "multi_branch_dcase2020": 0.5,
    },
)


def run(args: argparse.Namespace) -> Part | None:
    """Everything; nothing where there is no GPU, so that what was measured on one stays on the page."""
    if not torch.cuda.is_available():
        CONSOLE.print("no GPU is here: the page keeps what was measured on one")
        return None
    return measure(args, SIZES, torch.device("cuda"))


def measure(args: argparse.Namespace, sizes: Sizes, device: torch.device) -> Part:
    """The same for other sizes, on any device."""
    shards = make_set(args.work, sizes.clips, sizes.clip_s)
    precision = choose_precision("auto", device)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    peaks = measure_peaks(device, dtype, sizes.matrix)
    CONSOLE.print(f"{peaks.flops / 1e12:.3g} TFLOP/s in {precision}, {peaks.bytes / 1e12:.3g} TB/s")
    rows, goals, remarks = [], [], []
    for name, base in sizes.configs.items():
        found = _measure_config(name, base.with_(precision=precision), shards, args, sizes, peaks)
        rows += found.tables[0].rows
        goals += found.goals
        remarks += found.remarks
    title = (
        f"Training steps of real configs, clips of {sizes.clip_s:g} s, one card, {precision} unless said. "
        "Eager roofline: every operator's bytes and arithmetic at the speed of this card's large copies "
        f"({peaks.bytes / 1e12:.2f} TB/s) and matmuls ({peaks.flops / 1e12:.0f} TFLOP/s); MFU: products / matmuls"
    )
    return Part([Table(title, list(HEAD), rows)], goals, [*remarks, without_waits(shards, device, sizes)])


HEAD = ("config", "batch", "way", "clips/s", "× eager", "of the roofline", "MFU, %", "peak memory, GiB")


def _measure_config(
    name: str, base: Setting, shards: Path, args: argparse.Namespace, sizes: Sizes, peaks: Peaks
) -> Part:
    """One config in every way; the batch that is best; the plain loop; the largest kernels."""
    ways = {
        EAGER: base,
        RESIDENT: base.with_(words=(*base.words, f"data.resident={sizes.resident}")),
        "eager, fp32": base.with_(precision="fp32"),
        **{f"model.compile={mode}": base.with_(compile=mode) for mode in sizes.compiled},
    }
    CONSOLE.print(f"{name}: opening {len(ways)} ways of batch {base.batch}")
    with sessions(list(ways.values()), shards) as opened:
        for session in opened:
            session.step_s(sizes.warm_up)
            session.spent.clear()
        takes = {k: partial(s.clips_per_s, sizes.steps) for k, s in zip(ways, opened, strict=True)}
        takes[PLAIN] = partial(plain_clips_per_s, base, shards, opened[0].trainer.ranks.device, sizes.steps)
        speeds, waits = interleaved(takes, args.rounds), [found["data_wait_percent"] for found in opened[0].spent]
        with Counter(peaks) as counter:
            opened[0].take(1)
        kernels = largest_kernels(opened[0])
    roofline, eager = base.batch / counter.roofline_s, speeds[EAGER]
    products = counter.flops / base.batch / peaks.flops  # seconds a clip, if there were nothing else
    rows = []
    for way, found in speeds.items():
        speed = median(found)
        shares = (f"{speed / roofline:.2f}", f"{100 * speed * products:.1f}") if "fp32" not in way else ("", "")
        rows.append([name, str(base.batch), way, spread(found), spread(ratios(found, eager), 2), *shares, ""])
    batch, best, gib = best_batch(base, shards, sizes)
    rows.append(
        [name, str(batch), "best batch, eager", f"{best:,.0f}", f"{best / median(eager):.2f}", "", "", f"{gib:.2f}"]
    )
    plain = ratios(eager, speeds[PLAIN])
    goals = [
        Goal(f"{name}: data wait, of a step", waits, 1, False, "%"),
        Goal(f"{name}: from the tars / set on the device", ratios(eager, speeds[RESIDENT]), 0.97),
        Goal(f"{name}: eager / eager roofline", [speed / roofline for speed in eager], sizes.eager_goals[name]),
        Goal(f"{name}: eager / a plain loop at the same batch", plain, 5),
        Goal(f"{name}: best batch / a plain loop", [best / speed for speed in speeds[PLAIN]], 10),
    ]
    return Part([Table("", list(HEAD), rows)], goals, [f"*{name}*, largest kernels: {kernels}."])


def largest_kernels(session: Session) -> str:
    """The operations that take most of a step, with their shares."""
    on_gpu = session.trainer.ranks.device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=kinds) as profiler:
        session.step_s(1)
    spent = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profiler.key_averages()
    }
    largest = sorted(spent, key=lambda key: spent[key], reverse=True)[:LARGEST]
    return ", ".join(f"`{key[:60]}` {spent[key] / max(sum(spent.values()), 1e-9):.0%}" for key in largest)


def without_waits(shards: Path, device: torch.device, sizes: Sizes) -> str:
    """Steps of every config with waits for the device forbidden: how many take them, and which do not, and why."""
    fine, other = [], []
    for name in sizes.every:
        try:
            with (
                sessions([Setting(name, sizes.every_batch, words=ALL_TYPES)], shards) as (session,),
                no_waits(device),
            ):
                session.take(SYNC_STEPS)
            fine.append(name)
        except (UserError, RuntimeError) as error:
            other.append(f"{name} ({str(error).splitlines()[0][:100]})")
        _free()
    told = f"; not: {', '.join(other)}" if other else ""
    return f'`torch.cuda.set_sync_debug_mode("error")`: {SYNC_STEPS} steps of {", ".join(fine) or "none"}{told}.'


@contextmanager
def no_waits(device: torch.device) -> Iterator[None]:
    """Operations that wait for a GPU raise inside."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def best_batch(base: Setting, shards: Path, sizes: Sizes) -> tuple[int, float, float]:
    """Doubles the batch while that makes training faster and memory suffices: (batch, clips/s, GiB)."""
    best, batch = (0, 0.0, 0.0), base.batch
    while batch <= sizes.largest_batch:
        try:
            speed, gib = _try_batch(base.with_(batch=batch), shards, sizes)
        except (torch.OutOfMemoryError, UserError):  # UserError: its line of too little memory, or of too few clips
            break
        CONSOLE.print(f"  {base.config}, batch {batch}: {speed:,.1f} clips/s")
        if speed < GAIN * best[1]:
            break
        best, batch = (batch, speed, gib), 2 * batch
    return best


def _try_batch(setting: Setting, shards: Path, sizes: Sizes) -> tuple[float, float]:
    _free()
    with sessions([setting], shards) as (session,):
        session.step_s(sizes.warm_up)
        return session.clips_per_s(sizes.steps), peak_memory_gib(session.trainer.ranks.device)


def _free() -> None:
    """Memory of former trainers, which end in cycles; peaks begin anew."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
