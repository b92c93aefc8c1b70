"""What an evaluation costs: scorers, the whole scoring process, and training beside it."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from threadpoolctl import threadpool_limits

from asd.data.manifest import load_manifest
from asd.errors import UserError
from asd.evaluate.config import DEFAULT_SCORERS
from asd.evaluate.store import Evaluation, Validation, write_embeddings
from asd.loggers import LoggingConfig
from asd.run_folder.paths import RunFolder
from asd.scorers import (
    KnnConfig,
    MahalanobisConfig,
    ReconstructionConfig,
    ScorerConfig,
    UntrainedKnnConfig,
    build_scorer,
    scorer_label,
)
from benchmarks.results.runs import make_factory
from benchmarks.running import ROOT
from benchmarks.speed import evaluation_training as training
from benchmarks.speed.evaluation_set import SCALE, Clips, clips_of, make_clips
from benchmarks.speed.measure import memory_mib, ratios, spread
from benchmarks.speed.part import Goal, Part, Table

CONFIG = ROOT / "configs" / "demo.yaml"
SLOW = ("gmm", "lof")  # scorers that the goal leaves out
SCORERS: tuple[ScorerConfig, ...] = (
    *(kind() for kind in get_args(get_args(ScorerConfig)[0])),  # every one there is, at its defaults
    ReconstructionConfig(summary="median"),
    ReconstructionConfig(summary="std"),
    KnnConfig(k=10),
    KnnConfig(metric="euclidean"),
    MahalanobisConfig(space="raw"),
    UntrainedKnnConfig(level="normalised"),
)


@dataclass(frozen=True)
class Size:
    """How much is measured; tests take less."""

    clips: int = 20_000  # for training and as many for tests
    dim: int = 128
    factory: dict[str, int] = field(
        default_factory=lambda: {"seed": 1, "clip_s": 2, "train_clips": 60, "test_clips": 30}
    )
    words: tuple[str, ...] = ()  # overrides of the demo's config
    ranks: int = 2
    windows: int = 4


console = Console()


def run(args: argparse.Namespace) -> Part:
    """All of it, in some minutes on two cores."""
    return measured(args.work / "evaluation", args.rounds, Size())


def measured(work: Path, rounds: int, size: Size) -> Part:
    console.print(f"embeddings of {size.clips} clips")
    clips = make_clips(work / f"set_{size.clips}", size.clips, size.dim)
    parts = [_scorers(clips, rounds), _whole(work, clips, rounds), _training(work, rounds, size)]
    tables, goals, remarks = (
        [x for part in parts for x in getattr(part, name)] for name in ("tables", "goals", "remarks")
    )
    return Part(tables, goals, remarks)


def _scorers(clips: Clips, rounds: int) -> Part:
    """Fit and score of every scorer, on one thread as in the scoring process."""
    found, total = [], [0.0] * rounds
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for config in SCORERS:
            console.print(f"  {scorer_label(config)}")
            spent = [seconds(config, clips) for _ in range(rounds)]
            found.append(f"{scorer_label(config)} {statistics.median(spent):.3g}")
            if config.name not in SLOW:
                total = [before + own for before, own in zip(total, spent, strict=True)]
    goal = Goal("all scorers but LOF and GMM, fit and score, one thread", total, 2.0, at_least=False, unit="s")
    each = f"Seconds to fit and score, one thread, {_what(clips)}: {', '.join(found)}."
    return Part([], [goal], [each])


def seconds(config: ScorerConfig, clips: Clips) -> float:
    begin = time.perf_counter()
    scorer = build_scorer(config)
    scorer.fit(clips.fit)
    scorer.score(clips.test)
    return time.perf_counter() - begin


def _whole(work: Path, clips: Clips, rounds: int) -> Part:
    """The scoring process as training starts it, on idle cores."""
    found = []
    for number in range(rounds):
        console.print(f"  scoring process, {number + 1} of {rounds}")
        found.append(scored(work / "scored", clips))
    seconds, peaks = ([one[column] for one in found] for column in (0, 1))
    title = (
        f"The scoring process of one evaluation, {_what(clips)}, the {len(DEFAULT_SCORERS)} scorers of the default "
        "config, one thread, its start included"
    )
    return Part([Table(title, ["seconds", "peak memory, MiB"], [[spread(seconds, 2), spread(peaks)]])])


def scored(folder: Path, clips: Clips) -> tuple[float, float]:
    """Seconds of a scoring process, and MiB that it took at most."""
    lay_down(folder, clips, step=1)
    begin, peak = time.perf_counter(), 0.0
    places = (folder, folder.with_name("run"), clips.manifest.root, LoggingConfig().model_dump_json())
    words, log = [sys.executable, "-m", "asd.evaluate.scoring", *map(str, places)], folder.with_name("scored.log")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # as asd.evaluate.background has it
    with (
        log.open("wb") as out,
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment) as job,
    ):
        while job.poll() is None:
            with suppress(KeyError, OSError):  # it has just ended
                peak = max(peak, memory_mib(job.pid)["peak"])
            time.sleep(0.01)
    if job.returncode:
        raise UserError(f"scoring failed, see {log}")
    return time.perf_counter() - begin, peak


def _training(work: Path, rounds: int, size: Size) -> Part:
    """Updates of a real run beside its scoring process."""
    shards = make_factory(work / "factory", size.factory)
    console.print(f"  updates beside the scoring process, {size.ranks} ranks")
    run = work / "beside"
    shutil.rmtree(run, ignore_errors=True)
    own = clips_of(load_manifest(shards), size.dim)
    for step in range(1, 1 + training.ATTEMPTS * rounds):
        lay_down(RunFolder(run).evaluation(step), own, step)
    words = ["--config", str(CONFIG), *size.words]
    steps = training.steps_beside_scoring(shards, run, words, size.ranks, rounds, size.windows)
    rows = [
        ["update without the scoring process, ms", spread([1e3 * s for s in steps.alone], 1)],
        ["update beside it, ms", spread([1e3 * s for s in steps.beside], 1)],
        ["what the scoring process gets of a core meanwhile, %", spread(steps.child_percent, 1)],
    ]
    title = f"`configs/demo.yaml`, {size.ranks} ranks on all cores, and the scoring of an evaluation beside it"
    rise = ratios(steps.beside, steps.alone)
    goals = [Goal("update beside the scoring process by update alone", rise, 1.05, at_least=False)]
    return Part([Table(title, ["", "found"], rows)], goals)


def lay_down(folder: Path, clips: Clips, step: int) -> None:
    """An evaluation as training leaves it, to be scored."""
    evaluation = Evaluation(
        run="made up",
        step=step,
        epoch=float(step),
        checkpoint=f"step_{step:08d}",
        shards=str(clips.manifest.root.resolve()),
        fingerprint=clips.manifest.fingerprint,
        select="clean",
        scorers=DEFAULT_SCORERS,
        validation=Validation(loss=0.1, accuracy=0.9, clips=len(clips.validation)),
        fit_clips=len(clips.fit),
        unreadable_clips=0,
        logit_scale=SCALE,
        embed_s=0.0,
    )
    write_embeddings(folder, evaluation, clips.fit, clips.validation, clips.test)


def _what(clips: Clips) -> str:
    classes, dim = len(clips.manifest.classes), clips.fit.embedding.shape[1]
    return f"{len(clips.fit):,} training and {len(clips.test):,} test clips of {classes} classes, {dim}-d"
