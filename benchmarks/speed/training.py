"""Training steps on the CPU: clips/s by setting, two ranks against one, the trainer's own loop."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from asd.distributed import _avoid_amx, _keep_freed_memory
from benchmarks.speed.measure import interleaved, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.step_costs import products_s
from benchmarks.speed.steps import Session, Setting, make_set, sessions

CONSOLE = Console()
FP32, REUSED = "fp32", "first batch reused"  # the setting that all others are compared with, and it without the loader


@dataclass(frozen=True)
class Sizes:
    """How much is measured: a test takes less."""

    configs: Mapping[str, Setting]
    small: tuple[str, ...] = ("autoencoder",)  # configs whose loop shows beside their arithmetic
    steps: int = 3  # of one measurement
    clips: int = 4  # of each of 41 classes
    clip_s: float = 10.0
    ranked: tuple[str, ...] = ("dcase2020_integrated", "tastgram_noisy_arcmix_paper")
    overhead_steps: int = 200


ALL_TYPES = ("data.machine_types=[]",)  # of a config for one machine type at a time
SIZES = Sizes(
    {
        "dcase2020_integrated": Setting("dcase2020_integrated", 8),
        "tastgram_noisy_arcmix_paper": Setting("tastgram_noisy_arcmix_paper", 16),
        "mobilenet_v2": Setting("mobilenet_v2", 32, words=ALL_TYPES),
        "autoencoder": Setting("autoencoder", 8, words=ALL_TYPES),
    }
)


def run(args: argparse.Namespace) -> Part:
    """Everything; a few minutes."""
    return measure(args, SIZES)


def measure(args: argparse.Namespace, sizes: Sizes) -> Part:
    """The same for other sizes."""
    _avoid_amx()  # counts until the first convolution of the process, whichever session takes it
    _keep_freed_memory()
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
    return Part([Table(title, ["config and batch", "setting", "clips/s", "×"], rows), ranks], [*goals, *rank_goals])


def _measure_config(
    name: str, base: Setting, shards: Path, rounds: int, sizes: Sizes
) -> tuple[list[list[str]], list[Goal]]:
    settings = {FP32: base, REUSED: base.with_(reuse=True), "bf16": base.with_(precision="bf16")}
    CONSOLE.print(f"{name}: opening {len(settings)} settings")
    with sessions(list(settings.values()), shards) as opened:
        by_setting = dict(zip(settings, opened, strict=True))
        first = by_setting[FP32]
        speeds = interleaved({k: partial(_told, name, k, s, sizes.steps) for k, s in by_setting.items()}, rounds)
        small = [products_s(first) / first.step_s(sizes.steps) for _ in range(rounds)] if name in sizes.small else []
        waits = [100 * wait for wait in first.waits[:rounds]]
    rows = [[setting, spread(found, 1), spread(ratios(found, speeds[FP32]), 2)] for setting, found in speeds.items()]
    rows = [[f"{name}, {base.batch}" if row[0] == FP32 else "", *row] for row in rows]
    goals = [
        Goal(f"{name}: with the loader / first batch reused", ratios(speeds[FP32], speeds[REUSED]), 0.97),
        Goal(f"{name}: data wait, of a step", waits, 2, False, "%"),
    ]
    if small:
        goals.append(Goal(f"{name}: its bare matrix and convolution time / a step", small, 0.5))
    return rows, goals


def _told(name: str, setting: str, session: Session, steps: int) -> float:
    found = session.clips_per_s(steps)
    CONSOLE.print(f"  {name}, {setting}: {found:.1f} clips/s")
    return found


# One rank with all cores, two ranks that divide them


def _measure_ranks(args: argparse.Namespace, sizes: Sizes, shards: Path) -> tuple[Table, list[Goal]]:
    rows, goals = [], []
    for name in sizes.ranked:
        batch = max(16, sizes.configs[name].batch)  # two ranks with a whole mixing group of eight each
        words = ["--config", name, "--batch", str(batch), "--steps", str(sizes.steps)]
        sides = {"one": partial(_clips_per_s, args.work, shards, 1, words)}
        sides["two"] = partial(_clips_per_s, args.work, shards, 2, words)
        found = interleaved(sides, args.rounds)
        ratio = ratios(found["two"], found["one"])
        rows.append([f"{name}, {batch}", spread(found["one"], 1), spread(found["two"], 1), spread(ratio, 2)])
        goals.append(Goal(f"{name}: two ranks / one rank with all cores", ratio, 0.95))
    added = [_added_ms(args.work, shards, sizes.overhead_steps) for _ in range(args.rounds)]
    goals.append(Goal("loop overhead over bare DDP, a tiny network, two gloo ranks, a step", added, 0.2, False, "ms"))
    head = ["config and global batch", "one rank, clips/s", "two ranks, clips/s", "×"]
    return Table("One rank with all cores, and two ranks (gloo) that divide them, fp32", head, rows), goals


def _clips_per_s(work: Path, shards: Path, ranks: int, words: Sequence[str]) -> float:
    found = worker(work, shards, ranks, words)["clips_per_s"]
    CONSOLE.print(f"  {words[1]}, {ranks} rank(s): {found:.1f} clips/s")
    return found


def _added_ms(work: Path, shards: Path, steps: int) -> float:
    found = worker(work, shards, 2, ["--overhead", "--steps", str(steps), "--config", "dcase2020_integrated"])
    CONSOLE.print(f"  a tiny network's step: {found['trainer_ms']:.3f} ms, in a bare loop {found['bare_ms']:.3f} ms")
    return found["trainer_ms"] - found["bare_ms"]


def worker(work: Path, shards: Path, ranks: int, words: Sequence[str]) -> dict[str, float]:
    """What a job of so many ranks found."""
    out = work / f"step_worker_{time.monotonic_ns()}.json"
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    module = ["-m", "benchmarks.speed.step_worker", "--shards", str(shards), "--out", str(out), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // ranks))}
    subprocess.run([*start, *module], check=True, env=environment)
    found: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    out.unlink()
    return found
