"""Training steps on the CPU: clips/s by setting, two ranks against one."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from asd.distributed.cpu import keep_freed_memory
from asd.train.clock import PARTS
from benchmarks.running import ENDLESS, training
from benchmarks.speed.measure import interleaved, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.steps import CONFIGS, Session, Setting, make_set, sessions

CONSOLE = Console()
PRODUCTS = (  # names of torch's kernels
    *(f"aten::{name}" for name in ("mkldnn_convolution", "convolution_backward", "_slow_conv2d_forward")),
    *(f"aten::{name}" for name in ("mm", "addmm", "bmm", "baddbmm", "mkldnn_linear")),
)
FP32 = "fp32"  # the setting that all others are compared with


@dataclass(frozen=True)
class Sizes:
    """How much is measured: a test takes less."""

    configs: Mapping[str, Setting]
    steps: int = 3  # of one measurement
    clips: int = 4  # of each of 41 classes
    clip_s: float = 10.0
    ranked: tuple[str, ...] = ("dcase2020_integrated", "tastgram_noisy_arcmix_paper")


ALL_TYPES = ("data.machine_types=[]",)  # of a config for one machine type at a time
SIZES = Sizes(
    {
        "dcase2020_integrated": Setting("dcase2020_integrated", 8),
        "tastgram_noisy_arcmix_paper": Setting("tastgram_noisy_arcmix_paper", 16),
        "mobilenet_v2": Setting("mobilenet_v2", 32, words=ALL_TYPES),
        "autoencoder": Setting("autoencoder", 8, words=ALL_TYPES),
        "own_machines": Setting("own_machines", 64),
    }
)


def run(args: argparse.Namespace, sizes: Sizes = SIZES) -> Part:
    """Everything; a few minutes."""
    keep_freed_memory()
    shards = make_set(args.work, sizes.clips, sizes.clip_s)
    rows, goals = [], []
    for name, base in sizes.configs.items():
        more_rows, more_goals = _measure_config(name, base, shards, args.rounds, sizes)
        rows += more_rows
        goals += more_goals
    ranks, rank_goals = _measure_ranks(args, sizes, shards)
    title = (
        f"Training steps of real configs and clips of {sizes.clip_s:g} s by the real trainer, one process, "
        f"{len(os.sched_getaffinity(0))} cores; each setting as clips/s and beside eager fp32 with the loader"
    )
    return Part(
        [Table(title, ["config and batch", "setting", "clips/s", "×", "forward / backward / update, %"], rows), ranks],
        [*goals, *rank_goals],
    )


def _measure_config(
    name: str, base: Setting, shards: Path, rounds: int, sizes: Sizes
) -> tuple[list[list[str]], list[Goal]]:
    settings = {FP32: base, "bf16": base.with_(precision="bf16")}
    CONSOLE.print(f"{name}: opening {len(settings)} settings")
    with sessions(list(settings.values()), shards) as opened:
        by_setting = dict(zip(settings, opened, strict=True))
        first = by_setting[FP32]
        speeds = interleaved({k: partial(s.clips_per_s, sizes.steps) for k, s in by_setting.items()}, rounds)
        waits = [found["data_wait_percent"] for found in first.spent[:rounds]]
        shares = {k: _shares(s) for k, s in by_setting.items()}
        products = [100 * products_share(first) for _ in range(rounds)]
    rows = [[k, spread(found, 1), spread(ratios(found, speeds[FP32]), 2), shares[k]] for k, found in speeds.items()]
    rows = [[f"{name}, {base.batch}" if row[0] == FP32 else "", *row] for row in rows]
    return rows, [
        Goal(f"{name}: data wait, of a step", waits, 2, False, "%"),
        Goal(f"{name}: convolutions and matrix products, of a step", products, 50, True, "%"),
    ]


def _shares(session: Session) -> str:
    """Forward, backward and update in percent of a step, medians."""
    shares = ([found[f"{part}_s"] / found["step_s"] for found in session.spent] for part in PARTS)
    return " / ".join(f"{100 * statistics.median(share):.0f}" for share in shares)


def products_share(session: Session) -> float:
    """Share of a step, by torch's profiler, that the processor spends in convolutions and matrix products."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        session.take(1)
    spent = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    return sum(spent.get(name, 0.0) for name in PRODUCTS) / sum(spent.values())


# One rank with all cores, two ranks that divide them


def _measure_ranks(args: argparse.Namespace, sizes: Sizes, shards: Path) -> tuple[Table, list[Goal]]:
    rows, goals = [], []
    for name in sizes.ranked:
        setting = sizes.configs[name].with_(batch=max(16, sizes.configs[name].batch))  # a mixing group of 8 a rank
        sides = {str(n): partial(_clips_per_s, args.work, shards, n, setting, sizes.steps) for n in (1, 2)}
        one, two = interleaved(sides, args.rounds).values()
        rows.append([f"{name}, {setting.batch}", spread(one, 1), spread(two, 1), spread(ratios(two, one), 2)])
        goals.append(Goal(f"{name}: two ranks / one rank with all cores", ratios(two, one), 0.95))
    head = ["config and global batch", "one rank, clips/s", "two ranks, clips/s", "×"]
    return Table("One rank with all cores, and two ranks (gloo) that divide them, fp32", head, rows), goals


def _clips_per_s(work: Path, shards: Path, ranks: int, setting: Setting, steps: int) -> float:
    run = work / "ranks"
    shutil.rmtree(run, ignore_errors=True)
    words = ["--config", str(CONFIGS / f"{setting.config}.yaml"), *setting.all_words(), *ENDLESS]
    with training(shards, run, words, ranks) as job:
        found = setting.batch / job.step_s(steps)
    CONSOLE.print(f"  {setting.config}, {ranks} rank(s): {found:.1f} clips/s")
    return found
