"""Packing beside `cp -r` of the same files.

Every command runs in a process of its own and is timed whole, its start included; the page cache holds what is read.
`cp` leaves writing to the disk to the kernel, and so does packing; a second figure is taken once `sync` has returned.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.speed.measure import Rounds, interleaved, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.recordings import make_recordings

SIZES = (960, 4800)  # clips of 320 KB: 0.3 and 1.5 GB
CLIP_S = 10.0
PACK = (sys.executable, "-m", "shards.pack", "--layout", "dcase2020")


@dataclass(frozen=True)
class Timed:
    """Seconds of every round: until the command returned, and until the disk had it."""

    returned: Rounds = field(default_factory=list)
    synced: Rounds = field(default_factory=list)


def run(args: argparse.Namespace) -> Part:
    return measure(args.work / "packing", args.rounds, SIZES)


def measure(work: Path, rounds: int, sizes: tuple[int, ...], clip_s: float = CLIP_S) -> Part:
    """The part for corpora of these numbers of clips."""
    copies: dict[int, Timed] = {}
    packs: dict[int, Timed] = {}
    for clips in sizes:
        Console().print(f"packing: {clips} clips beside cp, {rounds} rounds")
        source, out = work / f"recordings-{clips}", work / "out"
        shutil.rmtree(source, ignore_errors=True)
        make_recordings(source, clips, clip_s)
        copies[clips], packs[clips] = Timed(), Timed()
        copying = partial(_time, copies[clips], out, "cp", "-r", str(source), str(out))
        packing = partial(_time, packs[clips], out, *PACK, "--source", str(source), "--out", str(out))
        interleaved({"cp": copying, "pack": packing}, rounds)
        shutil.rmtree(out)
    return _part(copies, packs, clip_s)


def _time(found: Timed, out: Path, *command: str) -> float:
    """The disk is idle when it starts."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found.returned.append(time.perf_counter() - begin)
    os.sync()
    found.synced.append(time.perf_counter() - begin)
    return found.returned[-1]


def _part(copies: dict[int, Timed], packs: dict[int, Timed], clip_s: float) -> Part:
    rows = []
    for clips, pack in packs.items():
        copy = copies[clips]
        returned = (copy.returned, pack.returned, ratios(copy.returned, pack.returned))
        until_on_disk = (copy.synced, pack.synced, ratios(copy.synced, pack.synced))
        rows.append([f"{clips:,}", *(spread(times, 2) for times in (*returned, *until_on_disk))])
    title = f"`shards.pack` (PCM) beside `cp -r` of the same {clip_s:g} s recordings, seconds: median (range)"
    head = ["clips", "cp", "pack", "cp / pack", "cp and sync", "pack and sync", "cp / pack"]
    most = max(packs)
    hour = [seconds / (most * clip_s / 3600) for seconds in packs[most].synced]
    goal = Goal(f"recordings → shards on the disk, {most:,} clips: an hour of sound", hour, 1, False, "s")
    return Part([Table(title, head, rows)], [goal])
