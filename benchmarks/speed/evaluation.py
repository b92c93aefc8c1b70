"""What an evaluation costs: scorers and metrics beside peers, the whole scoring process, and training beside it."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from asd.data.manifest import Manifest, load_manifest
from asd.evaluation_folder import Evaluation, Validation, write_embeddings
from asd.evaluator import DEFAULT_SCORERS
from asd.run_folder import RunFolder
from asd.scorers import SoftmaxConfig, scorer_label
from benchmarks.results.runs import make_factory
from benchmarks.speed import evaluation_child as child
from benchmarks.speed import evaluation_scorers as scorers
from benchmarks.speed import evaluation_training as training
from benchmarks.speed.evaluation_set import SCALE, Clips, clips_of, make_clips
from benchmarks.speed.measure import Rounds, interleaved, ratios, spread
from benchmarks.speed.part import Goal, Part, Table

NARROW = 128
CONFIG = training.ROOT / "configs" / "demo.yaml"
GPU_REMARK = (
    "The goal of an evaluation in at most 1 % of the training time is one for a GPU, and none was here. On paper the "
    "pass costs a third of a training step per clip (forward alone), so with all of DCASE 2020's 20,119 training and "
    "10,868 test clips embedded every 2 epochs it is (20,119 + 10,868) / (3 · 2 · 20,119) = 26 % of the time, with the "
    "test clips alone 9 %, and the 1 % is out of reach of any implementation: it takes `evaluate.every_epochs` of 50, "
    "or fewer clips through `evaluate.fit_clips_per_class` and `evaluate.test_clips_per_class`."
)


@dataclass(frozen=True)
class Size:
    """How much is measured; tests take less."""

    clips: int = 20_000  # for training and as many for tests
    dims: tuple[int, ...] = (NARROW, 512, 2048)  # the first one for all scorers, the others for kNN
    factory: dict[str, int] = field(
        default_factory=lambda: {"seed": 1, "clip_s": 2, "train_clips": 60, "test_clips": 30}
    )
    words: tuple[str, ...] = ()  # overrides of the demo's config
    every_epochs: int = 2
    ranks: int = 2
    windows: int = 4
    threads: tuple[int, ...] = (1, 2)


console = Console()


def run(args: argparse.Namespace) -> Part:
    """All of it, in about ten minutes on two cores."""
    return measured(args.work / "evaluation", args.rounds, Size())


def measured(work: Path, rounds: int, size: Size) -> Part:
    console.print(f"embeddings of {size.clips} clips")
    clips = make_clips(work / f"set_{size.clips}", size.clips, size.dims[0])
    parts = [
        _scorers(clips, rounds, size),
        _wide(work, rounds, size),
        _aucs(clips, rounds),
        _whole(work, clips, rounds),
        _training(work, rounds, size),
    ]
    return Part(
        tables=[table for part in parts for table in part.tables],
        goals=[goal for part in parts for goal in part.goals],
        remarks=[remark for part in parts for remark in part.remarks],
    )


def _scorers(clips: Clips, rounds: int, size: Size) -> Part:
    """Every scorer on one thread, as the scoring process runs them, and all of them on two."""
    rows: list[list[str]] = []
    goals: list[Goal] = []
    sums: dict[int, Rounds] = {threads: [0.0] * rounds for threads in size.threads}
    for config in scorers.SCORERS:
        name = scorer_label(config)
        peers = scorers.peers(config, clips)
        for threads in size.threads if config.name not in scorers.SLOW else size.threads[:1]:
            console.print(f"  {name}, {_threads(threads)}")
            contenders = {"ours": lambda own=config: scorers.ours(own, clips)} | peers
            found = interleaved(
                {who: lambda f=f, n=threads: scorers.seconds(f, n) for who, f in contenders.items()}, rounds
            )
            rows += [_row(f"{name}, {_threads(threads)}", found)]
            if config.name not in scorers.SLOW:
                sums[threads] = [total + own for total, own in zip(sums[threads], found["ours"], strict=True)]
            if "faiss" in found:
                goals.append(_faiss_goal(name, clips, threads, found))
    remarks = [_agreement(clips)] + ([] if scorers.FAISS else ["faiss is not installed: kNN has no such peer here."])
    for threads, total in sums.items():
        goals.append(
            Goal(
                f"all scorers but LOF and GMM, fit and score, {_threads(threads)}", total, 2.0, at_least=False, unit="s"
            )
        )
    title = f"Fit and score: {_what(clips)}; seconds"
    return Part([Table(title, ["scorer", "ours", "faiss", "scikit-learn"], rows)], goals, remarks)


def _wide(work: Path, rounds: int, size: Size) -> Part:
    """kNN where embeddings are wider; one thread."""
    rows: list[list[str]] = []
    for dim in size.dims[1:]:
        clips = make_clips(work / f"set_{size.clips}", size.clips, dim)
        for config in scorers.NEIGHBOURS:
            console.print(f"  {scorer_label(config)}, {dim}-d")
            contenders = {"ours": lambda own=config, c=clips: scorers.ours(own, c)} | scorers.peers(config, clips)
            found = interleaved({who: lambda f=f: scorers.seconds(f, 1) for who, f in contenders.items()}, rounds)
            rows.append(_row(f"{scorer_label(config)}, {dim}-d", found))
    title = "kNN of wider embeddings, one thread; seconds. Ours are distances in float64, the others in float32"
    return Part([Table(title, ["scorer", "ours", "faiss", "scikit-learn"], rows)] if rows else [])


def _aucs(clips: Clips, rounds: int) -> Part:
    console.print("  AUC and pAUC")
    scores = scorers.ours(SoftmaxConfig(), clips)
    ours, theirs = scorers.our_aucs(clips, scores), scorers.sklearn_aucs(clips, scores)
    apart = float(np.abs(np.array(ours) - np.array(theirs)).max())
    found = interleaved(
        {
            "ours": lambda: scorers.seconds(lambda: scorers.our_aucs(clips, scores), 1),
            "scikit-learn": lambda: scorers.seconds(lambda: scorers.sklearn_aucs(clips, scores), 1),
        },
        rounds,
    )
    goals = [
        Goal(
            "AUC + pAUC of every class: scikit-learn's time by ours", ratios(found["scikit-learn"], found["ours"]), 20
        ),
        Goal("AUC + pAUC: largest difference to scikit-learn's", [apart], 1e-12, at_least=False, unit=""),
    ]
    title = f"AUC and pAUC of {len(ours)} classes; seconds"
    rows = [["AUC + pAUC", *(spread(found[who], 4) for who in ("ours", "scikit-learn"))]]
    table = Table(title, ["", "ours", "scikit-learn"], rows)
    return Part([table], goals)


def _whole(work: Path, clips: Clips, rounds: int) -> Part:
    """The scoring process as training starts it, on idle cores."""
    found: list[dict[str, float]] = []
    for number in range(rounds):
        console.print(f"  scoring process, {number + 1} of {rounds}")
        folder = work / "scored"
        _lay_down(folder, clips, step=1)
        found.append(child.scored(folder, work / "scored_tensorboard"))
    columns = {stage: [one[stage] for one in found] for stage in found[0]}
    peak, total = columns.pop("peak_mib"), columns.pop("total")
    rows = [[stage, spread(seconds, 2)] for stage, seconds in columns.items()]
    rows.append(["**all**", spread(total, 2)])
    title = (
        f"The scoring process of one evaluation, {_what(clips)}, the {len(DEFAULT_SCORERS)} scorers of the default "
        f"config, one thread; seconds. Peak memory {spread(peak)} MiB"
    )
    return Part([Table(title, ["stage", "seconds"], rows)])


def _training(work: Path, rounds: int, size: Size) -> Part:
    """A real run: the pass over all clips, and its updates beside the scoring process."""
    shards = make_factory(work / "factory", size.factory)
    words = ["--config", str(CONFIG), *size.words]
    console.print("  a run with an evaluation")
    run = work / "evaluated"
    shutil.rmtree(run, ignore_errors=True)
    one = training.evaluated_run(shards, run, words, size.every_epochs, _used(load_manifest(shards)))
    console.print(f"  updates beside the scoring process, {size.ranks} ranks")
    run = work / "beside"
    shutil.rmtree(run, ignore_errors=True)
    own = clips_of(load_manifest(shards), size.dims[0])
    for step in range(1, 1 + training.ATTEMPTS * rounds):
        _lay_down(RunFolder(run).evaluation(step), own, step)
    steps = training.steps_beside_scoring(shards, run, words, size.ranks, rounds, size.windows)
    rise = ratios(steps.beside, steps.alone)
    rows = [
        ["embedding pass, clips/s", f"{one.clips_per_s:,.0f}"],
        [f"share of the training time, every {size.every_epochs} epochs, %", f"{one.percent:.1f}"],
        ["update without the scoring process, ms", spread([1e3 * s for s in steps.alone], 1)],
        ["update beside it, ms", spread([1e3 * s for s in steps.beside], 1)],
        ["what the scoring process gets of a core meanwhile, %", spread(steps.child_percent, 1)],
    ]
    title = (
        f"`configs/demo.yaml` on a factory of {_used(load_manifest(shards)):,} clips: the evaluation that training "
        f"waits for (one rank), and the one that runs beside it ({size.ranks} ranks, all cores busy)"
    )
    goals = [Goal("update beside the scoring process by update alone", rise, 1.02, at_least=False)]
    return Part([Table(title, ["", "found"], rows)], goals, [GPU_REMARK])


def _lay_down(folder: Path, clips: Clips, step: int) -> None:
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


def _used(manifest: Manifest) -> int:
    """Clips of a set that an evaluation embeds."""
    return sum(len(manifest.select(split)) for split in ("train", "test"))


def _agreement(clips: Clips) -> str:
    """How far kNN is from its peers' numbers."""
    apart = [
        float(np.abs(scorers.ours(config, clips) - scores()).max())
        for config in scorers.NEIGHBOURS
        for scores in scorers.peers(config, clips).values()
    ]
    return f"kNN distances differ from the peers' by at most {max(apart):.1e}: their float32."


def _faiss_goal(name: str, clips: Clips, threads: int, found: dict[str, Rounds]) -> Goal:
    what = f"{name} by faiss's time, {clips.fit.embedding.shape[1]}-d, {_threads(threads)}"
    return Goal(what, ratios(found["ours"], found["faiss"]), 1.35, at_least=False)


def _row(name: str, found: dict[str, Rounds]) -> list[str]:
    return [name, *(spread(found[who], 3) if who in found else "–" for who in ("ours", "faiss", "scikit-learn"))]


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"


def _what(clips: Clips) -> str:
    classes, dim = len(clips.manifest.classes), clips.fit.embedding.shape[1]
    return f"{len(clips.fit):,} training and {len(clips.test):,} test clips of {classes} classes, {dim}-d"
