"""Every system on synthetic factories, three seeds, beside the published figures: docs/results.md.

python -m benchmarks.results            (make results)
python -m benchmarks.results --part domains

Two parts, each with a factory, runs and a report.json of its own: the machine IDs of S1 and S2, and the domains of S3
to S6. A run with the very same config is not done again. The runs are slices: see benchmarks/slices.py and
benchmarks/domain_slices.py.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from asd.errors import run_main
from benchmarks import domain_results, results_figure, results_page, slices
from benchmarks.runs import collect, make_factory
from benchmarks.sections import replace_section

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results.md"
PUBLISHED = Path(__file__).with_name("published.yaml")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("machines", "domains", "all"), default="all", help="of the page")
    parser.add_argument("--work", type=Path, default=Path("data/results"), help="factory, shards, runs, report.json")
    parser.add_argument("--page", type=Path, default=PAGE, help="page whose generated parts are renewed")
    parser.add_argument("--slots", type=int, default=min(2, os.cpu_count() or 1), help="runs at once (default 2)")
    args = parser.parse_args(argv)
    if args.part != "domains":
        renew(args.work, args.page, args.slots)
    if args.part != "machines":
        domain_results.renew(args.work.with_name(f"{args.work.name}_domains"), args.page, args.slots)
    print(args.page)


def renew(work: Path, page: Path, slots: int) -> None:
    """Train what is not trained yet, and renew this part of the page."""
    jobs = slices.plan(make_factory(work, slices.FACTORY), work / "runs")
    slices.run(jobs, slots)
    report = collect(jobs, slots)
    (work / "report.json").write_text(json.dumps(report, indent=1))
    write_page(report, page)


def write_page(report: dict[str, Any], page: Path) -> None:
    """Renew the generated parts of the page and the picture beside it."""
    published = yaml.safe_load(PUBLISHED.read_text())
    for name, body in results_page.sections(report, published).items():
        replace_section(page, name, body)
    results_figure.draw(report["scores"]).savefig(page.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    run_main(main)
