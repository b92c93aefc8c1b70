"""What a part of the suite found: tables, and goals reached or missed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asd.text.markdown import markdown_table


@dataclass(frozen=True)
class Table:
    """Cells as they are shown."""

    title: str  # a sentence: what is compared, and how it was measured
    head: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        return f"{self.title}\n\n{markdown_table(self.head, self.rows)}"


@dataclass(frozen=True)
class Goal:
    """One line of the goals, with both sides of the ratio measured in the same rounds."""

    what: str
    found: list[float]  # of each round
    goal: float
    at_least: bool = True  # else: at most
    unit: str = "×"

    @property
    def reached(self) -> bool:
        middle = statistics.median(self.found)
        return middle >= self.goal if self.at_least else middle <= self.goal

    def cells(self) -> list[str]:
        low, middle, high = (f"{f(self.found):.3g}" for f in (min, statistics.median, max))
        sign = "≥" if self.at_least else "≤"
        reached = "yes" if self.reached else "**no**"
        return [self.what, f"{sign} {self.goal:g} {self.unit}", f"{middle} ({low} – {high})", reached]


GOALS_HEAD = ["part", "what a user feels", "wanted", "found: median (range)", "reached"]


@dataclass(frozen=True)
class Part:
    """All that one part of the suite has to say."""

    tables: list[Table]
    goals: list[Goal] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # what was skipped, and why; what a reader must know

    def markdown(self) -> str:
        return "\n\n".join([*(table.markdown() for table in self.tables), *self.remarks])


def save(part: Part, path: Path, machine: Mapping[str, Any]) -> None:
    """As json: what the page says of it and of its goals, and where and when it was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"machine": dict(machine), "markdown": part.markdown(), "goals": [goal.cells() for goal in part.goals]}
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
