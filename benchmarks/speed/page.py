"""docs/performance.md: one generated section for every part that was measured."""

from __future__ import annotations

from pathlib import Path

from benchmarks.machine import described
from benchmarks.sections import markdown_table, replace_section
from benchmarks.speed.part import GOALS_HEAD, Part, load


def renew(page: Path, work: Path) -> None:
    """Replace the sections of all parts whose figures lie in work, and the list of goals at the top."""
    found = {path.stem: load(path) for path in sorted(work.glob("*.json"))}
    for name, (part, machine) in found.items():
        replace_section(page, name, f"*{described(machine)}*\n\n{part.markdown()}")
    replace_section(page, "goals", goals({name: part for name, (part, _) in found.items()}))


def goals(parts: dict[str, Part]) -> str:
    """All goals of all parts, in one table."""
    rows = [[name, *goal.cells()] for name, part in parts.items() for goal in part.goals]
    return markdown_table(["part", *GOALS_HEAD], rows)
