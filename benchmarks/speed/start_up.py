"""From the command to the first training step, at any size of a set: seconds, and memory.

The real `train_ddp.py` runs with the demo's config, its network narrowed, on sets whose tars are holes (start_up_set).
Nothing in it is changed: its lines tell when a step was done, the kernel how much memory it takes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from asd.errors import UserError
from benchmarks.speed.measure import Rounds, memory_mib, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.start_up_probe import IMPORTED
from benchmarks.speed.start_up_set import sparse_set

ROOT = Path(__file__).resolve().parents[2]
SIZES = (1_000, 100_000, 1_000_000)
STEPS_BEFORE_MEMORY = 30
BATCH = 32
NARROW = ("backbone.depths=[1,1,1,1]", "backbone.width=8", "backbone.embedding=32")
ENDLESS = ("train.steps=100000", "train.log_every=1", f"train.global_batch={BATCH}")


@dataclass
class Starts:
    """What was found for one size, one entry a round."""

    imports_s: Rounds = field(default_factory=list)
    first_step_s: Rounds = field(default_factory=list)  # from the command on
    rank_gib: Rounds = field(default_factory=list)  # at most, beyond torch itself
    open_s: Rounds = field(default_factory=list)
    open_mib: Rounds = field(default_factory=list)

    @property
    def beyond_imports_s(self) -> Rounds:
        return [step - imports for step, imports in zip(self.first_step_s, self.imports_s, strict=True)]


def run(args: argparse.Namespace) -> Part:
    return measure(args.work / "start_up", args.rounds, SIZES)


def measure(work: Path, rounds: int, sizes: Sequence[int]) -> Part:
    """The part for sets of these numbers of clips, two thirds of them for training."""
    say, work = Console().print, work.resolve()  # the processes start in another folder
    say("start_up: making sets")
    folders = {size: sparse_set(work / f"sparse-{size}", size - size // 3, size // 3) for size in sizes}
    starts = {size: Starts() for size in sizes}
    for number in range(rounds):
        for size, found in starts.items():
            say(f"start_up: round {number + 1} of {rounds}, {size:,} clips")
            opened = json.loads(_python("open_set", str(folders[size])))
            found.open_s.append(opened["seconds"])
            found.open_mib.append(opened["peak_mib"])
            start(folders[size], work, found, torch_mib=float(_python("torch_alone")))
    return _part(starts)


def start(folder: Path, work: Path, found: Starts, torch_mib: float) -> None:
    """Start the command, and end it after some steps."""
    shutil.rmtree(work / "run", ignore_errors=True)
    words = ["--config", "configs/demo.yaml", f"data.shards={folder}", f"run.dir={work / 'run'}", *NARROW, *ENDLESS]
    log, begin = work / "run.log", time.perf_counter()
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            _command("train", *words), cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8"
        ) as job,
    ):
        assert job.stdout is not None
        try:
            for line in job.stdout:
                seconds, step = time.perf_counter() - begin, re.match(r"step (\d+)/", line)
                if line.strip() == IMPORTED:
                    found.imports_s.append(seconds)
                if step and int(step[1]) == 1:
                    found.first_step_s.append(seconds)
                if step and int(step[1]) == STEPS_BEFORE_MEMORY:
                    found.rank_gib.append((memory_mib(job.pid)["peak"] - torch_mib) / 1024)
                    break
            else:
                raise UserError(f"training ended before its time, see {log}")
        finally:
            job.kill()


def _command(function: str, *words: str) -> list[str]:
    return [sys.executable, "-c", f"from benchmarks.speed.start_up_probe import {function}; {function}()", *words]


def _python(function: str, *words: str) -> str:
    return subprocess.run(
        _command(function, *words), cwd=ROOT, env=os.environ, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    ).stdout


def _part(starts: dict[int, Starts]) -> Part:
    largest = max(starts)
    rows = [
        [
            f"{size:,}",
            *(spread(seconds, 2) for seconds in (found.first_step_s, found.imports_s, found.beyond_imports_s)),
            spread(found.open_s, 3),
            spread(found.open_mib),
            spread(found.rank_gib, 2),
        ]
        for size, found in starts.items()
    ]
    head = ["clips", "first step, s", "of which imports", "the rest", "manifest, s", "at most, MiB", "rank, GiB"]
    title = (
        "`python train_ddp.py`, one process, from the command until it says that the first step is done; opening the "
        f"manifest alone; and the memory of a rank after {STEPS_BEFORE_MEMORY} steps beyond that of a process which "
        f"imported torch and ran one convolution. The network is the demo's, narrowed; batches of {BATCH} clips"
    )
    imports = [seconds for found in starts.values() for seconds in found.imports_s]
    return Part(
        tables=[Table(title, head, rows)],
        goals=[
            Goal("imports", imports, 2.5, False, "s"),
            *(
                Goal(f"first step, beyond imports, {size:,} clips", found.beyond_imports_s, 2, False, "s")
                for size, found in starts.items()
            ),
            Goal(f"opening a manifest of {largest:,} clips", starts[largest].open_s, 2, False, "s"),
            Goal(f"its memory at most, {largest:,} clips", starts[largest].open_mib, 500, False, "MiB"),
            Goal(f"memory of a rank beyond torch itself, {largest:,} clips", starts[largest].rank_gib, 1, False, "GiB"),
        ],
    )
