"""Score checkpoints of a run on the test clips of its data set, or evaluate score files by the official rules.

python eval.py score --run runs/demo --checkpoint best      (or under torchrun, to embed with several ranks)
python eval.py ensemble --runs runs/a runs/b runs/c --method mean --out runs/ensemble
python eval.py report --layout dcase2023 --scores submission --ground-truth dcase2023_task2_evaluator
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from asd.errors import run_main


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="{score,ensemble,report}")
    score = commands.add_parser(
        "score", help="embed and score one checkpoint; writes scores.csv, report.json, report.md"
    )
    score.add_argument("--run", type=Path, required=True, help="run folder, such as runs/demo")
    score.add_argument("--checkpoint", default="best", help="best, last or a step (default: best)")
    score.add_argument("--out", type=Path, help="where the report goes (default: RUN/scores/step_…)")
    score.add_argument("overrides", nargs="*", metavar="a.b=c", help="config values, such as evaluate.select=oracle")
    score.set_defaults(command=_score)
    ensemble = commands.add_parser(
        "ensemble", help="combine the scores of several runs, z-normalised by training clips"
    )
    ensemble.add_argument("--runs", type=Path, nargs="+", required=True, help="run folders, or folders of evaluations")
    ensemble.add_argument("--method", choices=("mean", "median", "topk"), default="mean")
    ensemble.add_argument(
        "--k", type=int, default=3, help="topk: how many, the best on the test clips by machine type (default 3)"
    )
    ensemble.add_argument("--scorer", help="which scorer of each run (default: its primary one)")
    ensemble.add_argument("--percent", type=float, default=90.0, help="of the gamma threshold (default 90)")
    ensemble.add_argument("--out", type=Path, required=True, help="new folder, or that of an earlier ensemble")
    ensemble.set_defaults(command=_ensemble)
    report = commands.add_parser("report", help="evaluate score files of any system by the official rule of a year")
    report.add_argument("--layout", required=True, metavar="dcaseYEAR", help="dcase2020 to dcase2025")
    report.add_argument(
        "--scores", type=Path, required=True, help="folder of anomaly_score_*.csv, decision_result_*.csv"
    )
    report.add_argument(
        "--ground-truth", required=True, metavar="PATH",
        help="folder or file of the organisers' ground truth; `names`: the score files name development clips",
    )  # fmt: skip
    report.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    report.set_defaults(command=_report)
    args, rest = parser.parse_known_args(argv)  # parse_intermixed_args knows no subcommands
    if any(word.startswith("-") for word in rest) or (rest and "overrides" not in args):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.overrides += rest
    return args


def _score(args: argparse.Namespace) -> None:
    from asd.offline import load_run, score_checkpoint  # heavy imports after the command line is understood

    score_checkpoint(load_run(args.run, args.overrides), args.checkpoint, args.out)


def _ensemble(args: argparse.Namespace) -> None:
    from asd.offline import ensemble_command

    ensemble_command(args.runs, args.out, args.method, args.k, args.scorer, args.percent)


def _report(args: argparse.Namespace) -> None:
    from asd.official_report import report_score_files

    report_score_files(args.layout, args.scores, args.ground_truth, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    args.command(args)
    return 0


if __name__ == "__main__":
    run_main(main)
