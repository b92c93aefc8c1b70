"""What an evaluation costs: scorers and metrics beside peers, the whole scoring process, and training beside it.

python -m benchmarks.speed.evaluation 1000000      (the scoring process alone, of that many clips)
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from asd.data.manifest import load_manifest
from asd.errors import UserError
from asd.evaluate.config import DEFAULT_SCORERS
from asd.evaluate.store import Evaluation, Validation, write_embeddings
from asd.loggers import LoggingConfig
from asd.run_folder.paths import RunFolder
from asd.scorers import KnnConfig, SoftmaxConfig, scorer_label
from benchmarks.results.runs import make_factory
from benchmarks.running import ROOT
from benchmarks.speed import evaluation_scorers as scorers
from benchmarks.speed import evaluation_training as training
from benchmarks.speed.evaluation_set import SCALE, Clips, clips_of, make_clips
from benchmarks.speed.measure import Rounds, interleaved, memory_mib, ratios, spread
from benchmarks.speed.part import Goal, Part, Table

CONFIG = ROOT / "configs" / "demo.yaml"


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
    threads: tuple[int, ...] = (1, 2)


console = Console()


def run(args: argparse.Namespace) -> Part:
    """All of it, in some minutes on two cores."""
    return measured(args.work / "evaluation", args.rounds, Size())


def measured(work: Path, rounds: int, size: Size) -> Part:
    console.print(f"embeddings of {size.clips} clips")
    clips = make_clips(work / f"set_{size.clips}", size.clips, size.dim)
    parts = [_scorers(clips, rounds, size), _aucs(clips, rounds), _whole(work, clips, rounds)]
    parts.append(_training(work, rounds, size))
    tables, goals = ([x for part in parts for x in getattr(part, name)] for name in ("tables", "goals"))
    return Part(tables, goals)


def _scorers(clips: Clips, rounds: int, size: Size) -> Part:
    """Every scorer on one thread, as the scoring process runs them, and on two; kNN beside faiss."""
    rows: list[list[str]] = []
    goals: list[Goal] = []
    sums: dict[int, Rounds] = {threads: [0.0] * rounds for threads in size.threads}
    for config in scorers.SCORERS:
        name, slow = scorer_label(config), config.name in scorers.SLOW
        contenders = {"ours": partial(scorers.ours, config, clips)}
        if isinstance(config, KnnConfig) and scorers.has_peer(config):
            contenders["faiss"] = partial(scorers.by_faiss, config, clips)
        for threads in size.threads[:1] if slow else size.threads:
            console.print(f"  {name}, {_threads(threads)}")
            timed = {who: partial(scorers.seconds, score, threads) for who, score in contenders.items()}
            found = interleaved(timed, rounds)
            rows.append([f"{name}, {_threads(threads)}", spread(found["ours"], 3)])
            rows[-1].append(spread(found["faiss"], 3) if "faiss" in found else "–")
            if not slow:
                sums[threads] = [total + own for total, own in zip(sums[threads], found["ours"], strict=True)]
            if "faiss" in found:
                what = f"{name} by faiss's time, {size.dim}-d, {_threads(threads)}"
                goals.append(Goal(what, ratios(found["ours"], found["faiss"]), 1.35, at_least=False))
    for threads, total in sums.items():
        what = f"all scorers but LOF and GMM, fit and score, {_threads(threads)}"
        goals.append(Goal(what, total, 2.0, at_least=False, unit="s"))
    title = f"Fit and score: {_what(clips)}; seconds"
    return Part([Table(title, ["scorer", "ours", "faiss"], rows)], goals)


def _aucs(clips: Clips, rounds: int) -> Part:
    console.print("  AUC and pAUC")
    scores = scorers.ours(SoftmaxConfig(), clips)
    sides = {"ours": partial(scorers.our_aucs, clips, scores), "sklearn": partial(scorers.sklearn_aucs, clips, scores)}
    apart = float(np.abs(np.array(sides["ours"]()) - np.array(sides["sklearn"]())).max())
    found = interleaved({who: partial(scorers.seconds, aucs, 1) for who, aucs in sides.items()}, rounds)
    ratio = ratios(found["sklearn"], found["ours"])
    title = f"AUC and pAUC of {len(clips.manifest.classes)} classes; seconds"
    rows = [["AUC + pAUC", *(spread(found[who], 4) for who in sides)]]
    goals = [
        Goal("AUC + pAUC of every class: scikit-learn's time by ours", ratio, 20),
        Goal("AUC + pAUC: largest difference to scikit-learn's", [apart], 1e-12, at_least=False, unit=""),
    ]
    return Part([Table(title, ["", "ours", "scikit-learn"], rows)], goals)


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
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }  # as asd.evaluate.background starts it
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


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"


def _what(clips: Clips) -> str:
    classes, dim = len(clips.manifest.classes), clips.fit.embedding.shape[1]
    return f"{len(clips.fit):,} training and {len(clips.test):,} test clips of {classes} classes, {dim}-d"


if __name__ == "__main__":
    count = int(sys.argv[1])
    place = Path("data/speed/evaluation")
    console.print(_whole(place, make_clips(place / f"set_{count}", count // 2, 128), 1).markdown())
