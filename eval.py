"""Score checkpoints of a run on the test clips of its data set.

python eval.py score --run runs/demo --checkpoint best      (or under torchrun, to embed with several ranks)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from asd.errors import run_main


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    score = commands.add_parser(
        "score", help="embed and score one checkpoint; writes scores.csv, report.json, report.md"
    )
    score.add_argument("--run", type=Path, required=True, help="run folder, such as runs/demo")
    score.add_argument("--checkpoint", default="best", help="best, last or a step (default: best)")
    score.add_argument("--out", type=Path, help="where the report goes (default: RUN/scores/step_…)")
    score.add_argument("overrides", nargs="*", metavar="a.b=c", help="config values, such as evaluate.select=oracle")
    args, rest = parser.parse_known_args(argv)  # parse_intermixed_args knows no subcommands
    if any(word.startswith("-") for word in rest):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.overrides += rest
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    from asd.offline import load_run, score_checkpoint  # heavy imports after the command line is understood

    run = load_run(args.run, args.overrides)
    score_checkpoint(run, args.checkpoint, args.out)
    return 0


if __name__ == "__main__":
    run_main(main)
