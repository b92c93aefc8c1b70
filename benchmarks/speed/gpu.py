"""Training steps on one GPU: clips/s beside the eager roofline, data waits, the best batch and its memory."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from rich.console import Console

from asd.distributed.device import choose_precision
from asd.train.clock import peak_memory_gib
from benchmarks.speed.measure import interleaved, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.step_costs import Counter, Peaks, measure_peaks
from benchmarks.speed.steps import Setting, make_set, sessions
from benchmarks.speed.training import ALL_TYPES

CONSOLE = Console()
GAIN = 1.03  # a batch of twice the size must be so much faster to be the better one


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
    compiled: bool = True


SIZES = Sizes(
    {
        "dcase2020_integrated": Setting("dcase2020_integrated", 64),
        "tastgram_noisy_arcmix_paper": Setting("tastgram_noisy_arcmix_paper", 64),
        "mobilenet_v2": Setting("mobilenet_v2", 64, words=ALL_TYPES),
    },
    {"dcase2020_integrated": 0.7, "tastgram_noisy_arcmix_paper": 0.5, "mobilenet_v2": 0.5},
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
    rows, goals = [], []
    for name, base in sizes.configs.items():
        more_rows, more_goals = _measure_config(name, base.with_(precision=precision), shards, args, sizes, peaks)
        rows += more_rows
        goals += more_goals
    title = (
        f"Training steps of real configs in {precision}, clips of {sizes.clip_s:g} s, one card. Eager roofline: every "
        "operator's bytes and arithmetic at the speed of this card's large copies "
        f"({peaks.bytes / 1e12:.2f} TB/s) and matmuls ({peaks.flops / 1e12:.0f} TFLOP/s)"
    )
    head = ["config", "batch", "setting", "clips/s", "of the roofline", "peak memory, GiB"]
    return Part([Table(title, head, rows)], goals)


def _measure_config(
    name: str, base: Setting, shards: Path, args: argparse.Namespace, sizes: Sizes, peaks: Peaks
) -> tuple[list[list[str]], list[Goal]]:
    settings = {"eager": base, "eager, first batch reused": base.with_(reuse=True)}
    if sizes.compiled:
        settings["compiled"] = base.with_(compile=True)
    CONSOLE.print(f"{name}: opening {len(settings)} settings of batch {base.batch}")
    with sessions(list(settings.values()), shards) as opened:
        for session in opened:
            session.step_s(sizes.warm_up)
            session.spent.clear()
        takes = {k: partial(s.clips_per_s, sizes.steps) for k, s in zip(settings, opened, strict=True)}
        speeds, waits = interleaved(takes, args.rounds), [found["data_wait_percent"] for found in opened[0].spent]
        with Counter(peaks) as counter:
            opened[0].take(1)
    roofline = base.batch / counter.roofline_s
    batch, speed, gib = best_batch(base.with_(compile=sizes.compiled), shards, sizes)
    rows = [
        [name, str(base.batch), setting, spread(found), f"{median(found) / roofline:.2f}", ""]
        for setting, found in speeds.items()
    ]
    rows.append([name, str(batch), "best batch", f"{speed:,.0f}", "", f"{gib:.2f}"])
    eager = speeds["eager"]
    goals = [
        Goal(f"{name}: data wait, of a step", waits, 1, False, "%"),
        Goal(f"{name}: with the loader / first batch reused", ratios(eager, speeds["eager, first batch reused"]), 0.97),
        Goal(f"{name}: eager / eager roofline", [v / roofline for v in eager], sizes.eager_goals[name]),
    ]
    if "compiled" in speeds:
        goals.append(Goal(f"{name}: compiled / eager roofline", [v / roofline for v in speeds["compiled"]], 0.9))
    return rows, goals


def best_batch(base: Setting, shards: Path, sizes: Sizes) -> tuple[int, float, float]:
    """Doubles the batch while that makes training faster and memory suffices: (batch, clips/s, GiB)."""
    best, batch = (0, 0.0, 0.0), base.batch
    while batch <= sizes.largest_batch:
        try:
            speed, gib = _try_batch(base.with_(batch=batch), shards, sizes)
        except torch.OutOfMemoryError:
            break
        CONSOLE.print(f"  {base.config}, batch {batch}: {speed:,.1f} clips/s")
        if speed < GAIN * best[1]:
            break
        best, batch = (batch, speed, gib), 2 * batch
    return best


def _try_batch(setting: Setting, shards: Path, sizes: Sizes) -> tuple[float, float]:
    gc.collect()  # a trainer ends in a cycle
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with sessions([setting], shards) as (session,):
        session.step_s(sizes.warm_up)
        return session.clips_per_s(sizes.steps), peak_memory_gib(session.trainer.ranks.device)
