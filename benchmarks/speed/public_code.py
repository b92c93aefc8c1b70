"""Our training beside the public Noisy-ArcMix code: same network, batch, clips and threads; loading included.

The public code is no part of this repository: --public names a checkout of it. It is run as it is by its own trainer
(public_driver.py), ours by the real train_ddp.py (public_runs.py), each in a process of its own, turn by turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console

from asd.errors import UserError
from benchmarks.speed.measure import interleaved
from benchmarks.speed.part import Part
from benchmarks.speed.public_page import BEST, COMPILED, PUBLIC, START, report
from benchmarks.speed.public_runs import Run, Setting, run_ours, run_public
from benchmarks.speed.public_same import losses
from benchmarks.speed.public_sets import CLASSES, make_sets

REPOSITORY = "soonhyeon/Noisy-ArcMix"
VARIANTS: dict[str, tuple[str, ...]] = {
    "ours, fp32": ("train.precision=fp32",),
    f"ours, fp32, {COMPILED}": ("train.precision=fp32", "train.compile=true"),
    "ours, bf16": ("train.precision=bf16",),
    BEST: ("train.precision=bf16", "train.compile=true"),
}
CARD_BATCHES = (128, 256, 512)  # of ours, beside the published 64

console = Console()


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    train_clips: int  # of each class
    clip_s: float
    batch: int
    steps: int  # that count
    warm_up: int  # steps before
    many: int  # clips of the set whose start-up is timed


ON_CPU = Size(train_clips=6, clip_s=10.0, batch=32, steps=3, warm_up=1, many=20_000)
ON_CARD = Size(train_clips=25, clip_s=10.0, batch=64, steps=100, warm_up=20, many=20_000)


def run(args: argparse.Namespace) -> Part | None:
    """Both sides in every round; None where there is no checkout."""
    if args.public is None:
        console.print(f"skipped: --public FOLDER names a checkout (git clone {REPOSITORY}, at GitHub)")
        return None
    if not all((args.public / name).is_file() for name in ("dataloader.py", "trainer.py", "model/net.py")):
        raise UserError(f"--public {args.public} holds no checkout of {REPOSITORY}: name the folder of its trainer.py")
    return measure(args, ON_CARD if Setting.here(0, 0).device == "cuda" else ON_CPU, VARIANTS)


def measure(args: argparse.Namespace, size: Size, variants: Mapping[str, tuple[str, ...]]) -> Part:
    """Every contender once in every round."""
    work = args.work / "public_code"
    console.print(f"sets: {size.train_clips} clips of each class, and {size.many:,} short ones")
    sets = make_sets(work, size.train_clips, size.clip_s, size.many)
    setting = Setting.here(size.batch, size.steps)
    few = replace(setting, steps=1, log_every=1)
    goes: dict[str, Callable[[], Run]] = {
        PUBLIC: partial(run_public, args.public, sets.recordings, work / "public", setting, size.warm_up),
        START: partial(run_ours, sets.many, work / "ours", few, 0, ()),
        **{
            name: partial(run_ours, sets.shards, work / "ours", setting, size.warm_up, words)
            for name, words in variants.items()
        },
    }
    if setting.device == "cuda":
        for batch in CARD_BATCHES:
            larger = replace(setting, batch=batch)
            goes[f"{BEST}, batch {batch}"] = partial(
                run_ours, sets.shards, work / "ours", larger, size.warm_up, variants[BEST]
            )
    for name in (name for name in goes if COMPILED in name):
        console.print(f"{name}: compiling, not counted")
        goes[name]()
    runs: dict[str, list[Run]] = {name: [] for name in goes}
    interleaved({name: _counted(name, go, runs[name]) for name, go in goes.items()}, args.rounds)
    return report(runs, setting, size.many, losses(work / "public" / "first.pt", len(CLASSES)))


def _counted(name: str, go: Callable[[], Run], runs: list[Run]) -> Callable[[], float]:
    """Keeps what a run found, and tells it."""

    def turn() -> float:
        runs.append(go())
        console.print(f"{name}: first step after {runs[-1].start_s:.1f} s, {runs[-1].clips_per_s:.2f} clips/s")
        return runs[-1].clips_per_s

    return turn
