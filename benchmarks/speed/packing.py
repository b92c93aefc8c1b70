"""Packing beside `cp -r` of the same files, checking beside `sha256sum` of the same tars, and making a factory.

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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.speed.measure import Rounds, interleaved, median, ratios, spread
from benchmarks.speed.packing_corpus import CLIP_S, multiply, synthesise
from benchmarks.speed.part import Goal, Part, Table

SIZES = (960, 4800)  # clips of 320 KB: 0.3 and 1.5 GB
FACTORY_CLIPS_A_UNIT = 2


@dataclass(frozen=True)
class Timed:
    """Seconds of every round: until the command returned, and until the disk had it."""

    returned: Rounds
    synced: Rounds


def run(args: argparse.Namespace) -> Part:
    return measure(args.work / "packing", args.rounds, SIZES)


def measure(work: Path, rounds: int, sizes: tuple[int, ...], clip_s: float = CLIP_S) -> Part:
    """The part for corpora of these numbers of clips, of which the last one gives the figures."""
    say = Console().print
    shutil.rmtree(work / "factory", ignore_errors=True)
    say("packing: synthesising a factory")
    made, synth_s = synthesise(work / "factory", FACTORY_CLIPS_A_UNIT, clip_s)
    copies: dict[int, Timed] = {}
    packs: dict[int, Timed] = {}
    for clips in sizes:
        source = multiply(work / "factory", work / f"recordings-{clips}", clips)
        say(f"packing: {clips} clips beside cp, {rounds} rounds")
        found = _beside_each_other(
            {"cp": _copying(source, work / "copy"), "pack": _packing(source, work / "packed")}, rounds
        )
        copies[clips], packs[clips] = found["cp"], found["pack"]
    say("packing: start, FLAC, verify")
    start = _alone(_packing(multiply(work / "factory", work / "recordings-1", 3), work / "packed"), rounds)
    source = work / f"recordings-{sizes[0]}"
    flac = _alone(_packing(source, work / "packed", "--codec", "flac"), min(rounds, 3))
    _packing(work / f"recordings-{sizes[-1]}", work / "packed")()
    checks = _checks(work / "packed", rounds)
    for name in ("copy", "packed"):
        shutil.rmtree(work / name, ignore_errors=True)
    return _part(Measured(copies, packs, start, flac, checks, made / synth_s), clip_s)


@dataclass(frozen=True)
class Measured:
    """Seconds of everything, by round."""

    copies: dict[int, Timed]  # by clips
    packs: dict[int, Timed]
    start: Rounds  # of a pack of three clips
    flac: Rounds  # of a pack of the fewest
    checks: dict[str, Rounds]  # of the tars of the most
    synthesised: float  # clips/s


def _part(found: Measured, clip_s: float) -> Part:
    copies, packs, checks = found.copies, found.packs, found.checks
    fewest, largest = min(packs), max(packs)
    ratio = {clips: ratios(copies[clips].returned, packs[clips].returned) for clips in packs}
    synced = {clips: ratios(copies[clips].synced, packs[clips].synced) for clips in packs}
    a_clip = [1e3 * (pack - median(found.start)) / largest for pack in packs[largest].returned]
    a_copy = [1e3 * copy / largest for copy in copies[largest].returned]
    beside_cp = [
        [
            f"{clips:,}",
            *(spread(times, 2) for times in (copies[clips].returned, packs[clips].returned, ratio[clips])),
            *(spread(times, 2) for times in (copies[clips].synced, packs[clips].synced, synced[clips])),
        ]
        for clips in packs
    ]
    others = [
        ["start of `shards.pack`: three clips, s", spread(found.start, 2)],
        [f"a clip more of {largest:,}, ms", spread(a_clip, 3)],
        ["a clip of cp, ms", spread(a_copy, 3)],
        ["`shards.pack --codec flac`, clips/s", spread([fewest / s for s in found.flac])],
        ["`shards.verify`, clips/s", spread([largest / s for s in checks["verify"]])],
        ["`sha256sum` of the same tars / `shards.verify`", spread(ratios(checks["sha256sum"], checks["verify"]), 2)],
        ["`shards.synth`, clips/s", f"{found.synthesised:,.0f}"],
    ]
    return Part(
        tables=[
            Table(
                f"`shards.pack` (PCM) beside `cp -r` of the same {clip_s:g} s recordings, seconds: median (range)",
                ["clips", "cp", "pack", "cp / pack", "cp and sync", "pack and sync", "cp / pack"],
                beside_cp,
            ),
            Table("What a pack is made of, and the other commands on recordings", ["what", "median (range)"], others),
        ],
        goals=[
            *(Goal(f"`cp` / `shards.pack`, {clips:,} clips", ratio[clips], 0.5) for clips in packs),
            *(Goal(f"the same until the disk has it, {clips:,} clips", synced[clips], 0.5) for clips in packs),
            Goal(f"`cp` / `shards.pack`, a clip more of {largest:,}", ratios(a_copy, a_clip), 0.5),
        ],
    )


def _beside_each_other(commands: dict[str, Callable[[], float]], rounds: int) -> dict[str, Timed]:
    """Each command in each round; the disk is idle when one starts."""
    found = {name: Timed([], []) for name in commands}

    def timed(name: str) -> float:
        os.sync()
        returned = commands[name]()
        begin = time.perf_counter()
        os.sync()
        found[name].returned.append(returned)
        found[name].synced.append(returned + time.perf_counter() - begin)
        return returned

    interleaved({name: lambda name=name: timed(name) for name in commands}, rounds)  # type: ignore[misc]
    return found


def _alone(command: Callable[[], float], rounds: int) -> Rounds:
    return [command() for _ in range(rounds)]


def _copying(source: Path, out: Path) -> Callable[[], float]:
    def copy() -> float:
        shutil.rmtree(out, ignore_errors=True)
        return _seconds("cp", "-r", str(source), str(out))

    return copy


def _packing(source: Path, out: Path, *more: str) -> Callable[[], float]:
    words = ("-m", "shards.pack", "--layout", "dcase2020", "--source", str(source), "--out", str(out), *more)

    def pack() -> float:
        shutil.rmtree(out, ignore_errors=True)
        return _seconds(sys.executable, *words)

    return pack


def _checks(packed: Path, rounds: int) -> dict[str, Rounds]:
    tars = [str(path) for path in sorted(packed.glob("*.tar"))]
    return interleaved(
        {
            "sha256sum": lambda: _seconds("sha256sum", *tars),
            "verify": lambda: _seconds(sys.executable, "-m", "shards.verify", str(packed)),
        },
        rounds,
    )


def _seconds(*command: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin
