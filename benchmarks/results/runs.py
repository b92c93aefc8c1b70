"""What both parts of docs/results.md do around their runs: make the factory, gather the numbers."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asd.loggers.jsonl import METRICS_FILE, read_metrics
from asd.run_folder.paths import RunFolder
from asd.sweep.jobs import Job
from asd.sweep.numbers import summarise
from shards import pack
from shards.synth import __main__ as synth


def make_factory(work: Path, options: Mapping[str, Any]) -> Path:
    """The packed set, made where it is not there yet by these options of shards.synth."""
    shards = work / "shards"
    if not (shards / "manifest.json").is_file():
        if not (work / "factory").is_dir():
            words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
            synth.main(["--out", str(work / "factory"), *words])
        layout = options.get("layout", "dcase2020")
        pack.main(["--layout", layout, "--source", str(work / "factory"), "--out", str(shards)])
    return shards


def collect(jobs: Sequence[Job], slots: int) -> dict[str, Any]:
    """All that a page tells: the sweep's table, and what each row cost."""
    names = list(dict.fromkeys(job.name for job in jobs))
    return {
        "seeds": sorted({job.seed for job in jobs}),
        "slots": slots,
        "commits": sorted({commit(job) for job in jobs}),
        "scores": summarise(jobs),
        "cost": {name: _cost([job for job in jobs if job.name == name]) for name in names},
    }


def commit(job: Job) -> str:
    """The source that trained a run; "-dirty" where it held changes that were not committed."""
    identity = json.loads(RunFolder(Path(job.config.run.dir)).identity.read_text(encoding="utf-8"))
    known = identity["git_commit"] or "unknown"
    return f"{known[:10]}{'-dirty' if known.endswith('-dirty') else ''}"


def _cost(jobs: Sequence[Job]) -> dict[str, Any]:
    """Runs, their updates and seconds, and how well was learnt in the end, by held-out normal clips (None: no such)."""
    steps, last = [], []
    for job in jobs:
        records = read_metrics(Path(job.config.run.dir) / METRICS_FILE)
        steps.append(records[-1]["step"])
        last.append(next((r for r in reversed(records) if "validation/loss" in r), {}))
    learnt = {key: [r[f"validation/{key}"] for r in last if f"validation/{key}" in r] for key in ("loss", "accuracy")}
    return {
        "runs": len(jobs),
        "steps": [min(steps), max(steps)],
        "seconds": sum(job.seconds or 0.0 for job in jobs),
        "validation": {key: statistics.fmean(values) if values else None for key, values in learnt.items()},
    }
