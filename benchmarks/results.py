"""Every config of S1 and S2 on one synthetic factory, three seeds, beside the published figures: docs/results.md.

python -m benchmarks.results            (make results)

Makes and packs the factory once, trains what is not trained yet (a run with the very same config is not done again),
and writes the generated parts of docs/results.md and docs/results.png. The runs are slices: see benchmarks/slices.py.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from asd.errors import run_main
from asd.loggers import read_metrics
from asd.run_folder import RunFolder
from asd.sweep_jobs import Job
from asd.sweep_table import summarise
from benchmarks import results_figure, results_page, slices
from benchmarks.sections import replace_section
from shards import pack
from shards.synth import __main__ as synth

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results.md"
PUBLISHED = Path(__file__).with_name("published.yaml")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("data/results"), help="factory, shards, runs, report.json")
    parser.add_argument("--page", type=Path, default=PAGE, help="page whose generated parts are renewed")
    parser.add_argument("--slots", type=int, default=min(2, os.cpu_count() or 1), help="runs at once (default 2)")
    args = parser.parse_args(argv)
    jobs = slices.plan(make_factory(args.work), args.work / "runs")
    slices.run(jobs, args.slots)
    report = collect(jobs, args.slots)
    (args.work / "report.json").write_text(json.dumps(report, indent=1))
    write_page(report, args.page)
    print(args.page)


def make_factory(work: Path) -> Path:
    """The packed set, made where it is not there yet."""
    shards = work / "shards"
    if not (shards / "manifest.json").is_file():
        words = [f"--{name.replace('_', '-')}={value}" for name, value in slices.FACTORY.items()]
        if not (work / "factory").is_dir():
            synth.main(["--out", str(work / "factory"), *words])
        pack.main(["--layout", "dcase2020", "--source", str(work / "factory"), "--out", str(shards)])
    return shards


def collect(jobs: Sequence[Job], slots: int) -> dict[str, Any]:
    """All that the page tells: the sweep's table, and what each row cost."""
    names = list(dict.fromkeys(job.name for job in jobs))
    return {
        "seeds": sorted({job.seed for job in jobs}),
        "slots": slots,
        "commits": sorted({_commit(job) for job in jobs}),
        "scores": summarise(jobs),
        "cost": {name: _cost([job for job in jobs if job.name == name]) for name in names},
    }


def _commit(job: Job) -> str:
    """The source that trained a run; "-dirty" where it held changes that were not committed."""
    known = json.loads(RunFolder(Path(job.config.run.dir)).identity.read_text())["git_commit"] or "unknown"
    return f"{known[:10]}{'-dirty' if known.endswith('-dirty') else ''}"


def _cost(jobs: Sequence[Job]) -> dict[str, Any]:
    """Runs, their updates and seconds, and how well the classes were learnt at the end, over held-out normal clips."""
    steps, losses, accuracies = [], [], []
    for job in jobs:
        records = read_metrics(RunFolder(Path(job.config.run.dir)).metrics)
        validations = [record for record in records if "validation/loss" in record]
        steps.append(records[-1]["step"])
        losses.append(validations[-1]["validation/loss"])
        accuracies.append(validations[-1]["validation/accuracy"])
    return {
        "runs": len(jobs),
        "steps": [min(steps), max(steps)],
        "seconds": sum(job.seconds or 0.0 for job in jobs),
        "validation": {"loss": statistics.fmean(losses), "accuracy": statistics.fmean(accuracies)},
    }


def write_page(report: dict[str, Any], page: Path) -> None:
    """Renew the generated parts of the page and the picture beside it."""
    published = yaml.safe_load(PUBLISHED.read_text())
    for name, body in results_page.sections(report, published).items():
        replace_section(page, name, body)
    results_figure.draw(report["scores"]).savefig(page.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    run_main(main)
