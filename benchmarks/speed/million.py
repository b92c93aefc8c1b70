"""What the scoring of an evaluation costs when a set has a million training and a million test clips.

Made-up embeddings of 41 classes (evaluation_set.py) are laid down as training leaves them, and scored by the scorers
of the default config in a process of its own with one thread, as beside training: a quarter of an hour on two cores,
and 3 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from asd.errors import UserError
from asd.evaluate import scoring
from asd.evaluate.store import EMBEDDINGS_FILE
from asd.report import figures
from asd.scorers import Scorer, ScorerConfig, scorer_label
from benchmarks.speed.evaluation import lay_down
from benchmarks.speed.evaluation_set import make_clips
from benchmarks.speed.measure import memory_mib
from benchmarks.speed.part import Goal, Part

CLIPS = 1_000_000  # for training, and as many for tests
STEPS = {
    "read_embeddings": "reading the embeddings",
    "learnt": "held-out clips by their mean spectrum",
    "decide_clips": "thresholds and decisions",
    "build_report": "AUC, pAUC, report",
    "save_scores": "figures as png",
    "save_report": "scores.csv, report.md, report.json",
}  # what asd.evaluate.scoring calls → its row


def run(args: argparse.Namespace) -> Part:
    return measure(args.work, CLIPS)


def measure(work: Path, clips: int, dim: int = 128) -> Part:
    """The part for another number of clips: one round."""
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=work) as folder:
        return scored(Path(folder), clips, dim)


def scored(work: Path, clips: int, dim: int) -> Part:
    """Make the embeddings, have them scored in another process, and say what that took."""
    made = make_clips(work / "set", clips, dim)
    evaluation, shards = work / "evaluation", made.manifest.root
    lay_down(evaluation, made, step=1)
    of_each, classes = (len(made.fit), len(made.validation), len(made.test)), len(made.manifest.classes)
    del made
    gib = (evaluation / EMBEDDINGS_FILE).stat().st_size / 2**30
    words = [sys.executable, "-m", "benchmarks.speed.million", str(evaluation), str(shards)]
    done = subprocess.run(words, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    if done.returncode:
        raise UserError(f"scoring failed with code {done.returncode}, see above")
    found = json.loads(done.stdout.splitlines()[-1])
    steps = {name: f"{wall:.1f} ({cpu:.1f})" for name, (wall, cpu) in found["steps"].items()}
    told = (
        f"Scoring {of_each[0]:,} training, {of_each[1]:,} held-out and {of_each[2]:,} test clips of {classes} classes, "
        f"{dim}-d, by the scorers of the default config; one thread, once: {gib:.2f} GiB of embeddings, "
        f"{found['peak_gib']:.2f} GiB of memory at most. Seconds (of the processor): "
        f"{'; '.join(f'{name} {spent}' for name, spent in steps.items())}."
    )
    goals = [
        Goal(f"{clips:,} clips scored", [found["steps"]["all"][0]], 600, False, "s"),
        Goal(f"{clips:,} clips scored: memory / embeddings", [found["peak_gib"] / gib], 3, False),
    ]
    return Part([], goals, [told])


def measured(evaluation: Path, shards: Path) -> dict[str, Any]:
    """Score an evaluation in this process: seconds of each step by both clocks, and its peak memory."""
    torch.set_num_threads(1)
    steps: dict[str, tuple[float, float]] = {}
    for name, row in STEPS.items():
        setattr(scoring, name, timed(getattr(scoring, name), row, steps))
    figures.evaluation_figures = timed(figures.evaluation_figures, "drawing figures", steps)
    build, score = scoring.build_scorer, scoring.score_of_clips

    def build_timed(config: ScorerConfig) -> Scorer:
        scorer = build(config)
        scorer.fit = timed(scorer.fit, scorer_label(config), steps)  # type: ignore[method-assign]
        return scorer

    def score_timed(scorer: Any, *rest: Any) -> Any:
        return timed(score, scorer_label(scorer.config), steps)(scorer, *rest)

    scoring.build_scorer, scoring.score_of_clips = build_timed, score_timed
    timed(scoring.score_folder, "all", steps)(evaluation, shards=shards)
    return {"steps": steps, "peak_gib": memory_mib()["peak"] / 1024}


def timed(work: Callable[..., Any], row: str, steps: dict[str, tuple[float, float]]) -> Callable[..., Any]:
    """The same function, which adds the seconds of its calls to a row."""

    def run(*words: Any, **named: Any) -> Any:
        begin = time.perf_counter(), time.process_time()
        try:
            return work(*words, **named)
        finally:
            wall, cpu = steps.pop(row, (0.0, 0.0))
            steps[row] = (wall + time.perf_counter() - begin[0], cpu + time.process_time() - begin[1])

    return run


if __name__ == "__main__":  # the process that is measured
    print(json.dumps(measured(*map(Path, sys.argv[1:]))))
