"""Every system on real and synthetic machines, three seeds, beside the published figures: docs/results.md.

python -m benchmarks.results            (make results)
python -m benchmarks.results --part real --recordings DIR DIR

Four parts, each with runs of its own: real development sets, synthetic ones, the machine IDs of S1 and S2, and the
domains of S3 to S6.
A run with the very same config is not done again. The runs are slices of full trainings.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from asd.errors import run_main
from asd.files.paths import user_path
from asd.report import read_report
from asd.sweep.numbers import Table, as_tree, of_reports
from benchmarks.results import development_sets, domain_page, domain_slices, figure, slices
from benchmarks.results import page as machine_page
from benchmarks.results.development_sets import DevelopmentSet
from benchmarks.results.runs import collect, make_factory
from benchmarks.sections import replace_section

PARTS = ("real", "synthetic", "machines", "domains")
PUBLISHED = Path(__file__).with_name("published.yaml")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all", help="of the page")
    parser.add_argument("--recordings", type=user_path, nargs="*", default=[], help="real sets, DCASE 2020 layout")
    parser.add_argument("--work", type=user_path, default=Path("data/results"), help="factory, shards, runs, report")
    parser.add_argument("--page", type=user_path, default=PAGE, help="page whose generated parts are renewed")
    parser.add_argument("--slots", type=int, default=min(2, os.cpu_count() or 1), help="runs at once (default 2)")
    args = parser.parse_args(argv)
    parts = PARTS if args.part == "all" else (args.part,)
    work = {part: args.work / part for part in PARTS}
    if "real" in parts and args.recordings:
        sets("real sets", development_sets.real_sets(args.recordings, work["real"]), args.page, args.slots)
    if "synthetic" in parts:
        sets("synthetic sets", development_sets.synthetic_sets(work["synthetic"]), args.page, args.slots)
    if "machines" in parts:
        machines(work["machines"], args.page, args.slots)
    if "domains" in parts:
        domains(work["domains"], args.page, args.slots)
    print(args.page)


def sets(name: str, columns: Sequence[DevelopmentSet], page: Path, slots: int) -> None:
    """Train what is not trained yet on these sets, and renew their part of the page."""
    jobs = {own.title: development_sets.plan(own) for own in columns}
    for own in jobs.values():
        slices.run(own, slots)
    _renew(page, {name: development_sets.table(columns, jobs)})


def machines(work: Path, page: Path, slots: int) -> None:
    """Train what is not trained yet of S1 and S2, and renew their part of the page and the picture beside it."""
    jobs = slices.plan(slices.SLICES, make_factory(work, slices.FACTORY), work / "runs", slices.SEEDS)
    slices.run(jobs, slots)
    report = collect(jobs, slots)
    _save(work, report)
    _renew(page, machine_page.sections(report, yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))))
    figure.draw(report["scores"]).savefig(page.with_suffix(".png"), dpi=110)


def domains(work: Path, page: Path, slots: int) -> None:
    """The same for S3 to S6 and the ensembles of S4."""
    shards = make_factory(work, domain_slices.FACTORY)
    jobs = slices.plan(domain_slices.SLICES, shards, work / "runs", slices.SEEDS, domain_slices.TYPES)
    for seed in dict.fromkeys(job.seed for job in jobs):
        slices.run([job for job in jobs if job.seed == seed], slots)
    report = collect(jobs, slots) | {"ensembles": ensembles(domain_slices.submit(jobs, work / "ensembles"))}
    _save(work, report)
    _renew(page, domain_page.sections(report))


def ensembles(folders: Mapping[tuple[str, int], Path]) -> Table:
    """Name → numbers over seeds, as the sweep's table has them of a run."""
    names = dict.fromkeys(name for name, _ in folders)
    found = {name: [read_report(path) for (own, _), path in folders.items() if own == name] for name in names}
    return {name: of_reports([report for report in reports if report]) for name, reports in found.items()}


def _save(work: Path, report: Mapping[str, Any]) -> None:
    tables = {name: as_tree(report[name]) for name in ("scores", "ensembles") if name in report}
    (work / "report.json").write_text(json.dumps({**report, **tables}, indent=1), encoding="utf-8")


def _renew(page: Path, sections: Mapping[str, str]) -> None:
    for name, body in sections.items():
        replace_section(page, name, body)


if __name__ == "__main__":
    run_main(main)
