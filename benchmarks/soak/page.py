"""docs/reliability.md: the table of faults and outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import described
from benchmarks.sections import markdown_table, replace_section
from benchmarks.soak.outcome import HEAD, load


def renew(page: Path, work: Path, order: Sequence[str]) -> None:
    """Put in all faults whose figures lie in work."""
    found = [load(work / f"{name}.json") for name in order if (work / f"{name}.json").is_file()]
    machines = dict.fromkeys(described(figures.machine) for figures in found)
    rounds = [outcome for figures in found for outcome in figures.counted]
    took = f"{len(rounds)} rounds, {sum(outcome.seconds for outcome in rounds) / 60:.0f} minutes in all."
    table = markdown_table(HEAD, [figures.cells() for figures in found])
    replace_section(page, "soak", "\n\n".join([*(f"*{machine}*" for machine in machines), took, table]))
