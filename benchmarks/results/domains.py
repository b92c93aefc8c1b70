"""The domain shift part of docs/results.md: runs, ensembles, numbers, and the generated parts of the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from asd.ensemble import NAME
from asd.evaluation_folder import read_report
from asd.sweep_jobs import Job, run_jobs
from asd.sweep_numbers import official_spread
from benchmarks.results import domain_page, domain_slices
from benchmarks.results.runs import collect, make_factory
from benchmarks.sections import replace_section

PUBLISHED = Path(__file__).with_name("published_domains.yaml")


def renew(work: Path, page: Path, slots: int) -> None:
    """Train what is not trained yet, and renew this part of the page."""
    jobs = domain_slices.plan(make_factory(work, domain_slices.FACTORY), work / "runs")
    run(jobs, slots)
    report = collect(jobs, slots) | {"ensembles": ensembles(domain_slices.submit(jobs, work / "ensembles"))}
    (work / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    write_page(report, page)


def run(jobs: Sequence[Job], slots: int) -> None:
    """Do what is not done yet, seed by seed, first the runs that others start from."""
    for seed in dict.fromkeys(job.seed for job in jobs):
        for first in (True, False):
            own = [job for job in jobs if job.seed == seed and (job.config.init_from is None) == first]
            run_jobs([job for job in own if not job.done], ranks=1, slots=slots)


def ensembles(folders: Mapping[tuple[str, int], Path]) -> dict[str, Any]:
    """Name → official numbers over seeds, as the sweep's table has them of a run."""
    names = dict.fromkeys(name for name, _ in folders)
    found = {name: [read_report(path) for (own, _), path in folders.items() if own == name] for name in names}
    return {
        name: {NAME: {"official": official_spread([[report["official"][NAME]] for report in reports if report])}}
        for name, reports in found.items()
    }


def write_page(report: Mapping[str, Any], page: Path) -> None:
    """Renew the generated parts of the page."""
    published = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    for name, body in domain_page.sections(report, published).items():
        replace_section(page, name, body)
