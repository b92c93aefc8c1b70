"""Every system on synthetic factories, three seeds, beside the published figures: docs/results.md.

python -m benchmarks.results            (make results)
python -m benchmarks.results --part domains

Two parts, each with a factory, runs and a report.json of its own: the machine IDs of S1 and S2, and the domains of S3
to S6. A run with the very same config is not done again. The runs are slices: see slices.py and domain_slices.py.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from asd.errors import run_main
from asd.files import user_path
from benchmarks.results import domains, machines

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("machines", "domains", "all"), default="all", help="of the page")
    parser.add_argument(
        "--work", type=user_path, default=Path("data/results"), help="factory, shards, runs, report.json"
    )
    parser.add_argument("--page", type=user_path, default=PAGE, help="page whose generated parts are renewed")
    parser.add_argument("--slots", type=int, default=min(2, os.cpu_count() or 1), help="runs at once (default 2)")
    args = parser.parse_args(argv)
    if args.part != "domains":
        machines.renew(args.work, args.page, args.slots)
    if args.part != "machines":
        domains.renew(args.work.with_name(f"{args.work.name}_domains"), args.page, args.slots)
    print(args.page)


if __name__ == "__main__":
    run_main(main)
