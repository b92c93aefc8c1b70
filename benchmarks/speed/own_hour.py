"""An hour of own machines' sound, from recordings to an exported detector, by the commands of docs/own-machines.md."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from benchmarks.speed.measure import Rounds, interleaved, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.watched import Watched, watch
from shards.synth import __main__ as synth

GOAL_S = {"statistics": 60, "own_machines": 120, "own_machines_autoencoder": 60}
MACHINE = "fan"  # of the factory: seven IDs


def run(args: argparse.Namespace) -> Part:
    return measure((args.work / "own_hour").resolve(), args.rounds)


def measure(
    work: Path,
    rounds: int,
    train_clips: int = 50,
    clip_s: float = 10.0,
    words: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Part:
    """The part for another amount of sound; words: further ones of a config's training."""
    recordings = make_recordings(work, train_clips, clip_s)
    costs: dict[str, list[Watched]] = {name: [] for name in GOAL_S}
    seconds = interleaved(
        {name: partial(_detector, costs[name], name, recordings, work, words.get(name, ())) for name in costs}, rounds
    )
    hours = len(list(recordings.rglob("*.wav"))) * clip_s / 3600
    return part(seconds, {name: [cost.gib for cost in found] for name, found in costs.items()}, hours)


def make_recordings(work: Path, train_clips: int, clip_s: float) -> Path:
    """One machine type of a factory: so many normal clips of each of its IDs, and two test clips."""
    factory = work / "factory"
    if not factory.is_dir():
        counts = ["--train-clips", str(train_clips), "--test-clips", "1", "--clip-s", str(clip_s)]
        synth.main(["--out", str(work / "all"), *counts])
        shutil.move(work / "all" / MACHINE, factory / MACHINE)
        shutil.rmtree(work / "all")
    return factory


def _detector(costs: list[Watched], config: str, recordings: Path, work: Path, words: Sequence[str]) -> float:
    """Seconds of packing, training with its evaluation, and the export."""
    out, log = work / config, work / f"{config}.log"
    shutil.rmtree(out, ignore_errors=True)
    log.unlink(missing_ok=True)
    shards, run, python = out / "shards", out / "run", sys.executable
    pack = [python, "-m", "shards.pack", "--layout", "dcase2020", "--source", str(recordings), "--out", str(shards)]
    train = [python, "train_ddp.py", "--config", f"configs/{config}.yaml", f"data.shards={shards}", f"run.dir={run}"]
    export = [python, "eval.py", "export", "--run", str(run), "--out", str(out / "detector.pt")]
    whole = watch(pack, log).then(watch([*train, *words], log)).then(watch(export, log))
    costs.append(whole)
    return whole.seconds


def part(seconds: dict[str, Rounds], gib: dict[str, Rounds], hours: float) -> Part:
    """Seconds and memory of each config, scaled to an hour of sound where it was more or less."""
    rows = [[f"configs/{name}.yaml", spread(found, 0), spread(gib[name], 2)] for name, found in seconds.items()]
    title = f"Recordings → exported detector, {60 * hours:.0f} minutes of seven machines' sound, one process, all cores"
    goals = [
        Goal(f"an hour of sound → detector, {name}", [s / hours for s in found], GOAL_S[name], False, "s")
        for name, found in seconds.items()
    ]
    return Part([Table(title, ["config", "seconds", "memory at most, GiB"], rows)], goals)
