"""Training steps on one GPU: clips/s beside the eager roofline, memory, waits, and where the time goes."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from asd.distributed import choose_precision
from asd.metrics.throughput import peak_memory_gib
from benchmarks.speed.measure import Rounds, interleaved, median, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.step_costs import FLAVOURS, Costs, Peaks, costs, count_work, measure_peaks, optimiser_ms
from benchmarks.speed.steps import PARTS, Setting, make_set, sessions
from benchmarks.speed.training import ALL_TYPES, share_cells

CONSOLE = Console()
GAIN = 1.03  # a batch of twice the size must be so much faster to be the better one
LOG_MEL_PERCENT = 5


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
    found = [
        _measure_config(name, base.with_(precision=precision), shards, args, sizes, peaks)
        for name, base in sizes.configs.items()
    ]
    tables = [
        Table(
            f"Training steps of real configs in {precision}, clips of {sizes.clip_s:g} s, one card. Eager roofline: "
            "every operator's bytes and arithmetic at the speed of this card's large copies "
            f"({peaks.bytes / 1e12:.2f} TB/s) and matmuls ({peaks.flops / 1e12:.0f} TFLOP/s)",
            ["config", "batch", "setting", "clips/s", "of the roofline", "peak memory, GiB"],
            [row for f in found for row in f.speed_rows],
        ),
        Table(
            "Where the time of an eager step goes, by events on the stream; kernels a step; the three that cost most",
            ["config", *PARTS, "kernels", "largest"],
            [f.share_row for f in found],
        ),
        Table("An Adam step over all parameters, ms", ["config", *FLAVOURS], [f.optimiser_row for f in found]),
    ]
    return Part(tables, [goal for f in found for goal in f.goals])


@dataclass(frozen=True)
class Found:
    """What the tables and goals take from one config."""

    speed_rows: list[list[str]]
    share_row: list[str]
    optimiser_row: list[str]
    goals: list[Goal]


def _measure_config(
    name: str, base: Setting, shards: Path, args: argparse.Namespace, sizes: Sizes, peaks: Peaks
) -> Found:
    settings = {"eager": base, "eager, first batch reused": base.with_(reuse=True)}
    if sizes.compiled:
        settings["compiled"] = base.with_(compile=True)
    CONSOLE.print(f"{name}: opening {len(settings)} settings of batch {base.batch}")
    found = _side_by_side(settings, shards, sizes, args.rounds, args.work / f"trace_{name}.json", peaks)
    speeds, roofline = found.speeds, base.batch / found.roofline_s
    memory = {setting: alone_gib(s, shards, sizes.warm_up) for setting, s in settings.items()}
    best = best_batch(base.with_(compile=sizes.compiled), shards, sizes)
    rows = [
        [name, str(base.batch), k, spread(v, 0), f"{median(v) / roofline:.2f}", f"{memory[k]:.2f}"]
        for k, v in speeds.items()
    ]
    rows.append([name, str(best.batch), "best batch", f"{best.clips_per_s:,.0f}", "", f"{best.gib:.2f}"])
    return Found(
        rows,
        [name, *found.share_cells, f"{found.step.launches:,}", found.step.words()],
        [name, *(f"{found.optimiser[flavour]:.2f}" for flavour in FLAVOURS)],
        _goals(name, speeds, roofline, found.waits, found.features, sizes.eager_goals[name]),
    )


@dataclass(frozen=True)
class SideBySide:
    """What the settings of a config gave in turns, and what an eager step is made of; numbers alone, no trainer."""

    speeds: dict[str, Rounds]  # clips/s by setting
    step: Costs
    roofline_s: float
    share_cells: list[str]
    waits: Rounds
    features: Rounds
    optimiser: dict[str, float]  # ms by implementation


def _side_by_side(
    settings: Mapping[str, Setting], shards: Path, sizes: Sizes, rounds: int, trace: Path, peaks: Peaks
) -> SideBySide:
    with sessions(list(settings.values()), shards) as opened:
        by_setting = dict(zip(settings, opened, strict=True))
        for session in opened:
            session.step_s(sizes.warm_up)
        eager = by_setting["eager"]
        eager.waits.clear()
        eager.shares.clear()
        takes = {k: partial(session.clips_per_s, sizes.steps) for k, session in by_setting.items()}
        return SideBySide(
            speeds=interleaved(takes, rounds),
            step=costs(eager, trace),
            roofline_s=count_work(eager, peaks).roofline_s,
            share_cells=share_cells(eager),
            waits=list(eager.waits),
            features=[share["features"] for share in eager.shares],
            optimiser=optimiser_ms(eager.parameters),
        )


def _goals(
    name: str, speeds: dict[str, Rounds], roofline: float, waits: Rounds, features: Rounds, eager: float
) -> list[Goal]:
    with_loader = ratios(speeds["eager"], speeds["eager, first batch reused"])
    goals = [
        Goal(f"{name}: data wait, of a step", [100 * wait for wait in waits], 2, False, "%"),
        Goal(f"{name}: with the loader / first batch reused", with_loader, 0.97),
        Goal(f"{name}: eager / eager roofline", [v / roofline for v in speeds["eager"]], eager),
        Goal(f"{name}: features, of a step", [100 * f for f in features], LOG_MEL_PERCENT, False, "%"),
    ]
    if "compiled" in speeds:
        goals.append(Goal(f"{name}: compiled / eager roofline", [v / roofline for v in speeds["compiled"]], 0.9))
    return goals


@dataclass(frozen=True)
class Best:
    """A batch size and what it gives."""

    batch: int
    clips_per_s: float
    gib: float


def best_batch(base: Setting, shards: Path, sizes: Sizes) -> Best:
    """Doubles the batch while that makes training faster and memory suffices."""
    best: Best | None = None
    batch = base.batch
    while batch <= sizes.largest_batch:
        try:
            tried = _try_batch(base.with_(batch=batch), shards, sizes)
        except torch.OutOfMemoryError:
            break
        CONSOLE.print(f"  {base.config}, batch {batch}: {tried.clips_per_s:,.1f} clips/s")
        if best is not None and tried.clips_per_s < GAIN * best.clips_per_s:
            break
        best, batch = tried, 2 * batch
    assert best is not None, "the config's own batch has been measured before"
    return best


def _try_batch(setting: Setting, shards: Path, sizes: Sizes) -> Best:
    _forget_memory()
    with sessions([setting], shards) as (session,):
        session.step_s(sizes.warm_up)
        speed = session.clips_per_s(sizes.steps)
        return Best(setting.batch, speed, peak_memory_gib(session.trainer.ranks.device))


def alone_gib(setting: Setting, shards: Path, steps: int) -> float:
    """Peak memory of a setting that has the device to itself."""
    _forget_memory()
    with sessions([setting], shards) as (session,):
        session.step_s(steps)
        return peak_memory_gib(session.trainer.ranks.device)


def _forget_memory() -> None:
    gc.collect()  # a trainer ends in a cycle
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
