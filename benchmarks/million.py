"""What the scoring of an evaluation costs when a set has a million training and a million test clips.

python -m benchmarks.million                      (a quarter of an hour on two cores, 3 GB of disk)
python -m benchmarks.million --clips 100000

Made-up embeddings of 41 classes (speed/evaluation_set.py) are laid down as training leaves them, and scored by the
scorers of the default config in a process of its own with one thread, as beside training. Prints a table: wall and
processor seconds of each step, and the memory that the process took at most, beside the size of the embeddings.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from asd.errors import UserError, run_main
from asd.evaluate import scoring
from asd.evaluate.store import EMBEDDINGS_FILE
from asd.files.paths import user_path
from asd.report import figures
from asd.scorers import Scorer, ScorerConfig, scorer_label
from asd.text.markdown import markdown_table
from benchmarks.machine import described, machine
from benchmarks.speed.evaluation import lay_down
from benchmarks.speed.evaluation_set import make_clips
from benchmarks.speed.measure import memory_mib

STEPS = {
    "read_embeddings": "reading the embeddings",
    "learnt": "held-out clips by their mean spectrum",
    "decide_clips": "thresholds and decisions",
    "build_report": "AUC, pAUC, report",
    "save_scores": "figures as png",
    "save_report": "scores.csv, report.md, report.json",
}  # what asd.evaluate.scoring calls → its row


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000, help="training clips, and as many test clips")
    parser.add_argument("--dim", type=int, default=128, help="numbers of an embedding (default 128)")
    parser.add_argument("--work", type=user_path, default=Path("data/million"), help="where embeddings lie meanwhile")
    parser.add_argument("--score", nargs=2, type=Path, help=argparse.SUPPRESS)  # the process that is measured
    args = parser.parse_args(argv)
    if args.score:
        print(json.dumps(measured(*args.score)))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=args.work) as work:
        print(table(Path(work), args.clips, args.dim))


def table(work: Path, clips: int, dim: int) -> str:
    """Make the embeddings, have them scored in another process, and say what that took."""
    made = make_clips(work / "set", clips, dim)
    evaluation, shards = work / "evaluation", made.manifest.root
    lay_down(evaluation, made, step=1)
    of_each, classes = (len(made.fit), len(made.validation), len(made.test)), len(made.manifest.classes)
    del made
    gib = (evaluation / EMBEDDINGS_FILE).stat().st_size / 2**30
    words = [sys.executable, "-m", "benchmarks.million", "--score", str(evaluation), str(shards)]
    done = subprocess.run(words, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    if done.returncode:
        raise UserError(f"scoring failed with code {done.returncode}, see above")
    found = json.loads(done.stdout.splitlines()[-1])
    rows = [[name, f"{wall:.1f}", f"{cpu:.1f}"] for name, (wall, cpu) in found["steps"].items()]
    return (
        f"{of_each[0]:,} training, {of_each[1]:,} held-out, {of_each[2]:,} test clips of {classes} classes, {dim}-d: "
        f"{gib:.2f} GiB of embeddings; one thread; {described(machine())}\n\n"
        f"{markdown_table(['step', 's', 'processor s'], rows)}\n\nmemory at most: {found['peak_gib']:.2f} GiB"
    )


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


if __name__ == "__main__":
    run_main(main)
