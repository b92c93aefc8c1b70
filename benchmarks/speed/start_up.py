"""From the command to the first training step, at any size of a set: seconds by stage, and memory.

The real `train_ddp.py` runs under a clock (start_up_probe) with the demo's config, its network narrowed, on sets whose
tars are holes (start_up_set). Also: what opening a set takes, what an epoch's plan costs a clip, and whether the step
at an epoch's boundary waits for the next plan.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from asd.data.loader import training_requests
from asd.data.manifest import Manifest, load_manifest
from asd.data.plan import Plan, Stream, make_plan
from asd.data.splits import make_splits
from benchmarks.speed.measure import Rounds, interleaved, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.start_up_probe import FOLDER, STEPS
from benchmarks.speed.start_up_set import RATE, sparse_set

ROOT = Path(__file__).resolve().parents[2]
SIZES = (1_000, 100_000, 1_000_000)
STEPS_BEFORE_MEMORY = 30
BATCH = 32
CROP = 2 * RATE  # samples, as in the demo's config
NARROW = ("backbone.depths=[1,1,1,1]", "backbone.width=8", "backbone.embedding=32", "train.steps=100000")
PROBE = ("-m", "benchmarks.speed.start_up_probe")
TWO_RANKS = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *PROBE)
TORCH_ALONE = "import torch; torch.nn.Conv1d(8, 8, 3)(torch.zeros(1, 8, 1000)).sum().backward(); import torch._dynamo"


@dataclass
class Starts:
    """What was found for one size, one entry a round."""

    alone: list[dict[str, Any]] = field(default_factory=list)  # what the probe left, one process
    ranks: list[dict[str, Any]] = field(default_factory=list)  # rank 0 of two under torchrun
    ranks_s: Rounds = field(default_factory=list)  # from torchrun's start to the first step of rank 0
    opening: list[dict[str, float]] = field(default_factory=list)


def run(args: argparse.Namespace) -> Part:
    return measure(args.work / "start_up", args.rounds, SIZES)


def measure(work: Path, rounds: int, sizes: Sequence[int], ranks: bool = True) -> Part:
    """The part for sets of these numbers of clips."""
    say, work = Console().print, work.resolve()  # the processes start in another folder
    folders = {}
    for size in sizes:
        say(f"start_up: a set of {size:,} clips")
        folders[size] = sparse_set(work / f"sparse-{size}", size)
    starts = {size: Starts() for size in sizes}
    torch_mib = [_torch_alone_mib() for _ in range(rounds)]
    for number in range(rounds):
        for size in sizes:
            say(f"start_up: round {number + 1} of {rounds}, {size:,} clips")
            _one_round(folders[size], work, starts[size], ranks)
    say("start_up: plans")
    plans = {size: _plan_costs(folders[size], rounds) for size in sizes}
    return _part(starts, plans, torch_mib, ranks)


def _one_round(folder: Path, work: Path, found: Starts, ranks: bool) -> None:
    module = ("-m", "benchmarks.speed.start_up_opening", str(folder))
    found.opening.append(json.loads(_python(module, {})))
    found.alone.append(_probe(folder, work, PROBE))
    if ranks:
        begin = time.clock_gettime(time.CLOCK_BOOTTIME)
        found.ranks.append(_probe(folder, work, TWO_RANKS))
        found.ranks_s.append(found.ranks[-1]["first_step_at"] - begin)


def _probe(folder: Path, work: Path, command: Sequence[str]) -> dict[str, Any]:
    """What rank 0 left behind; memory is the larger of all ranks'."""
    out, run_folder = work / "probe", work / "run"
    for place in (out, run_folder):
        shutil.rmtree(place, ignore_errors=True)
    out.mkdir(parents=True)
    words = ("--config", "configs/demo.yaml", f"data.shards={folder}", f"run.dir={run_folder}", *NARROW)
    environment = {FOLDER: str(out), STEPS: str(STEPS_BEFORE_MEMORY)}
    _python((*command, *words, f"train.global_batch={BATCH}"), environment)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("rank*.json"))]
    found[0]["memory_mib"] = {key: max(rank["memory_mib"][key] for rank in found) for key in ("now", "peak")}
    shutil.rmtree(run_folder)
    return found[0]


def _torch_alone_mib() -> float:
    """Resident memory of a process that has only imported torch and used it once."""
    show = "; from benchmarks.speed.start_up_probe import memory_mib; print(memory_mib()['now'])"
    return float(_python(("-c", TORCH_ALONE + show), {}))


def _python(words: Sequence[str], environment: dict[str, str]) -> str:
    """Run Python from the top of the sources; its standard output."""
    command = [sys.executable, *(str(Path(word).resolve()) if Path(word).is_dir() else word for word in words)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    )
    return done.stdout


@dataclass(frozen=True)
class PlanCosts:
    """Of one size, one entry a round: an epoch's plan, and the wait for a request where a new epoch begins."""

    epoch_s: Rounds
    boundary_s: Rounds
    within_s: Rounds  # the wait for any other request, median
    clips: int


def _plan_costs(folder: Path, rounds: int) -> PlanCosts:
    manifest = load_manifest(folder)
    train = make_splits(manifest, 0, 0.05).train
    plan = make_plan([Stream("all", train, BATCH, manifest.class_index[train])], 0, 8)
    waits = [_waits(manifest, plan, epoch) for epoch in range(rounds)]
    epochs = interleaved({"plan": lambda: _seconds_of_a_plan(plan)}, rounds)["plan"]
    return PlanCosts(epochs, [wait[0] for wait in waits], [wait[1] for wait in waits], len(train))


def _seconds_of_a_plan(plan: Plan) -> float:
    begin = time.perf_counter()
    plan.epoch(1)
    return time.perf_counter() - begin


def _waits(manifest: Manifest, plan: Plan, epoch: int) -> tuple[float, float]:
    """Seconds until the first request of the next epoch is there, and until one in the midst of an epoch is."""
    last = plan.steps_per_epoch - 1
    requests = training_requests(manifest, plan, CROP, epoch, max(last - 10, 0), 0, 1)
    found = []
    while True:
        begin = time.perf_counter()
        request = next(requests)
        found.append(time.perf_counter() - begin)
        if request.epoch > epoch:
            return found[-1], float(np.median(found[1:-1] or found))


def _part(starts: dict[int, Starts], plans: dict[int, PlanCosts], torch_mib: Rounds, ranks: bool) -> Part:
    smallest, largest = min(starts), max(starts)
    own = {size: [probe["total_s"] - probe["imported_s"] for probe in found.alone] for size, found in starts.items()}
    opening = {key: [found[key] for found in starts[largest].opening] for key in ("seconds", "kept", "peak")}
    alone_mib = float(np.median(torch_mib))
    memory = {
        size: [(probe["memory_mib"]["peak"] - alone_mib) / 1024 for probe in found.alone]
        for size, found in starts.items()
    }
    tables = [_stages(starts), _openings(starts, plans, memory)]
    if ranks:
        tables.insert(1, _ranks_table(starts))
    return Part(
        tables=tables,
        goals=[
            *(Goal(f"first step, beyond imports, {size:,} clips", own[size], 2, False, "s") for size in starts),
            Goal(f"opening a manifest of {largest:,} clips", opening["seconds"], 2, False, "s"),
            Goal(f"its memory at most, {largest:,} clips", opening["peak"], 500, False, "MiB"),
            Goal(f"memory of a rank beyond torch itself, {largest:,} clips", memory[largest], 1, False, "GiB"),
        ],
        remarks=[
            f"The network is the demo's, narrowed; batches of {BATCH} clips; memory after {STEPS_BEFORE_MEMORY} steps, "
            "torch itself being a process that imported it and ran one convolution forward and back: "
            f"{alone_mib:,.0f} MiB. A run of {smallest:,} clips needs {np.median(memory[smallest]):.2f} GiB "
            "beyond that."
        ],
    )


def _stages(starts: dict[int, Starts]) -> Table:
    names = list(next(iter(starts.values())).alone[0]["stages"])
    rows = [
        [name, *(spread([probe["stages"][name] for probe in found.alone], 3) for found in starts.values())]
        for name in names
    ]
    for title, key in (("**all until the first step**", "total_s"), ("of which imports", "imported_s")):
        rows.append([title, *(spread([probe[key] for probe in found.alone], 2) for found in starts.values())])
    head = ["stage", *(f"{size:,} clips" for size in starts)]
    return Table("`python train_ddp.py`, one process, seconds until the first step is done: median (range)", head, rows)


def _ranks_table(starts: dict[int, Starts]) -> Table:
    rows = [
        [
            f"{size:,}",
            spread(found.ranks_s, 2),
            spread([probe["total_s"] for probe in found.ranks], 2),
            spread([probe["total_s"] - probe["imported_s"] for probe in found.ranks], 2),
        ]
        for size, found in starts.items()
    ]
    head = ["clips", "from torchrun's start", "from rank 0's start", "beyond imports"]
    return Table("`torchrun --nproc_per_node=2 train_ddp.py`, seconds until rank 0 has done the first step", head, rows)


def _openings(starts: dict[int, Starts], plans: dict[int, PlanCosts], memory: dict[int, Rounds]) -> Table:
    rows = [
        [
            f"{size:,}",
            spread([one["seconds"] for one in found.opening], 3),
            spread([one["kept"] for one in found.opening]),
            spread([one["peak"] for one in found.opening]),
            spread(memory[size], 2),
            spread([1e9 * epoch / plans[size].clips for epoch in plans[size].epoch_s]),
            spread([1e3 * wait for wait in plans[size].boundary_s], 1),
            spread([1e3 * wait for wait in plans[size].within_s], 2),
        ]
        for size, found in starts.items()
    ]
    head = [
        "clips", "manifest, s", "keeps, MiB", "at most, MiB", "rank beyond torch, GiB", "plan of an epoch, ns a clip",
        "first request of an epoch, ms", "any other, ms",
    ]  # fmt: skip
    return Table("What grows with a set, and what does not", head, rows)
