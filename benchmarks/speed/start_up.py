"""From the command to the first training step, at any size of a set: seconds, and memory.

The real `train_ddp.py` runs with the demo's config, its network narrowed, on sets whose tars are holes (start_up_set).
Nothing in it is changed: its lines tell when a step was done, the kernel how much memory it takes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from asd.errors import UserError
from benchmarks.running import ROOT
from benchmarks.speed.measure import Rounds, memory_mib, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.start_up_probe import IMPORTED
from benchmarks.speed.start_up_set import sparse_set

SIZES = (1_000, 100_000, 1_000_000)
STEPS_BEFORE_MEMORY = 30
BATCH = 32
NARROW = ("backbone.depths=[1,1,1,1]", "backbone.width=8", "backbone.embedding=32")
ENDLESS = ("train.steps=100000", "train.log_every=1", f"train.global_batch={BATCH}")


Starts = defaultdict[str, Rounds]  # of one size: what → an entry a round


def run(args: argparse.Namespace) -> Part:
    return measure(args.work / "start_up", args.rounds, SIZES)


def measure(work: Path, rounds: int, sizes: Sequence[int]) -> Part:
    """The part for sets of these numbers of clips, two thirds of them for training."""
    say, work = Console().print, work.resolve()  # the processes start in another folder
    say("start_up: making sets")
    folders = {size: sparse_set(work / f"sparse-{size}", size - size // 3, size // 3) for size in sizes}
    starts: dict[int, Starts] = {size: defaultdict(list) for size in sizes}
    for number in range(rounds):
        for size, found in starts.items():
            say(f"start_up: round {number + 1} of {rounds}, {size:,} clips")
            opened = json.loads(_python("open_set", str(folders[size])))
            found["open_s"].append(opened["seconds"])
            found["open_mib"].append(opened["peak_mib"])
            start(folders[size], work, found, torch_mib=float(_python("torch_alone")))
    return _part(starts)


def start(folder: Path, work: Path, found: Starts, torch_mib: float) -> None:
    """Start the command, and end it after some steps."""
    shutil.rmtree(work / "run", ignore_errors=True)
    words = ["--config", "configs/demo.yaml", f"data.shards={folder}", f"run.dir={work / 'run'}", *NARROW, *ENDLESS]
    command, log, begin = _command("train", *words), work / "run.log", time.perf_counter()
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8") as job,
    ):
        try:
            for line in job.stdout or ():
                seconds = time.perf_counter() - begin
                if line.strip() == IMPORTED:
                    found["imports_s"].append(seconds)
                if " step 1/" in line:
                    found["first_step_s"].append(seconds)
                    found["beyond_s"].append(seconds - found["imports_s"][-1])
                if f" step {STEPS_BEFORE_MEMORY}/" in line:
                    found["rank_gib"].append((memory_mib(job.pid)["peak"] - torch_mib) / 1024)
                    return
        finally:
            job.kill()
    raise UserError(f"training ended before its time, see {log}")


def _command(function: str, *words: str) -> list[str]:
    return [sys.executable, "-c", f"from benchmarks.speed.start_up_probe import {function}; {function}()", *words]


def _python(function: str, *words: str) -> str:
    return subprocess.run(
        _command(function, *words), cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    ).stdout


def _part(starts: dict[int, Starts]) -> Part:
    largest = max(starts)
    columns = {
        "first_step_s": ("first step, s", 2), "imports_s": ("of which imports", 2), "beyond_s": ("the rest", 2),
        "open_s": ("manifest, s", 3), "open_mib": ("at most, MiB", 0), "rank_gib": ("rank, GiB", 2),
    }  # fmt: skip
    head = ["clips", *(name for name, _ in columns.values())]
    rows = [
        [f"{size:,}", *(spread(found[key], digits) for key, (_, digits) in columns.items())]
        for size, found in starts.items()
    ]
    title = (
        "`python train_ddp.py`, one process, from the command until it says that the first step is done; opening the "
        f"manifest alone; and the memory of a rank after {STEPS_BEFORE_MEMORY} steps beyond that of a process which "
        f"imported torch and ran one convolution. The network is the demo's, narrowed; batches of {BATCH} clips"
    )
    imports, last = [seconds for found in starts.values() for seconds in found["imports_s"]], starts[largest]
    goals = [Goal("imports", imports, 2.5, False, "s")]
    goals += [
        Goal(f"first step, beyond imports, {largest:,} clips", last["beyond_s"], 2, False, "s"),
        Goal(f"memory of a rank beyond torch itself, {largest:,} clips", last["rank_gib"], 1, False, "GiB"),
    ]
    return Part([Table(title, head, rows)], goals)
