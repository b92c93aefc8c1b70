"""The part of docs/results.md on machine IDs: every config of S1 and S2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from benchmarks.results import figure, slices
from benchmarks.results import page as pages
from benchmarks.results.runs import collect, make_factory
from benchmarks.sections import replace_section

PUBLISHED = Path(__file__).with_name("published.yaml")


def renew(work: Path, page: Path, slots: int) -> None:
    """Train what is not trained yet, and renew this part of the page."""
    jobs = slices.plan(make_factory(work, slices.FACTORY), work / "runs")
    slices.run(jobs, slots)
    report = collect(jobs, slots)
    (work / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    write_page(report, page)


def write_page(report: dict[str, Any], page: Path) -> None:
    """Renew the generated parts of the page and the picture beside it."""
    published = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    for name, body in pages.sections(report, published).items():
        replace_section(page, name, body)
    figure.draw(report["scores"]).savefig(page.with_suffix(".png"), dpi=110)
