"""What a search goes by: how a run's network does on held-out normal clips. No test clip is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from asd.loggers.jsonl import METRICS_FILE, read_metrics

Objective = Literal["loss", "accuracy"]
SATURATED = 0.99  # accuracy on held-out clips above which all networks look alike


def seen(run: Path, objective: Objective) -> dict[int, float]:
    """Step → the number at each evaluation of a run so far; none where a number is not finite."""
    path = run / METRICS_FILE
    records = read_metrics(path) if path.is_file() else []
    found = {record["step"]: record.get(f"validation/{objective}") for record in records}
    return {step: value for step, value in found.items() if value is not None}


def best(run: Path, objective: Objective) -> float | None:
    """The best number of a run."""
    values = seen(run, objective).values()
    return (max if objective == "accuracy" else min)(values, default=None)


def saturation(runs: Sequence[Path]) -> str | None:
    """One line where the runs can hardly be told apart by held-out clips; None elsewhere."""
    known = [value for run in runs if (value := best(run, "accuracy")) is not None]
    full = sum(value >= SATURATED for value in known)
    if not known or 2 * full < len(known):
        return None
    return (
        f"{full} of {len(known)} trials tell {SATURATED:.0%} or more of the held-out normal clips apart: what differs "
        "still says little about anomalies; compare the best few, with several --seeds, on a set that has labels"
    )
