"""What came of the rounds of a fault, where that is kept, and the table of docs/reliability.md."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asd.text.markdown import markdown_table
from benchmarks.machine import described
from benchmarks.sections import replace_section


@dataclass(frozen=True)
class Outcome:
    """One round."""

    seed: int
    problem: str | None  # what was seen where a check failed
    skipped: bool  # the problem is the machine's: it does not allow this fault
    lost_steps: int
    again_s: float | None
    codes: list[int]
    said: str
    seconds: float

    @property
    def recovered(self) -> bool:
        return self.problem is None


@dataclass(frozen=True)
class Figures:
    """All rounds of a fault."""

    fault: str
    what: str  # as the page says it
    rounds: list[Outcome]
    machine: dict[str, str]

    @property
    def counted(self) -> list[Outcome]:
        return [outcome for outcome in self.rounds if not outcome.skipped]

    def cells(self) -> list[str]:
        """A line of the table."""
        done = self.counted
        if not done:
            return [self.what, "0", "–", "–", "–", f"not tried: {self.rounds[-1].problem}"]
        good = [outcome for outcome in done if outcome.recovered]
        share = f"{len(good)} of {len(done)}" if len(good) == len(done) else f"**{len(good)} of {len(done)}**"
        waits = [outcome.again_s for outcome in good if outcome.again_s is not None]
        newest = done[-1]
        said = newest.said if newest.recovered else f"**{newest.problem}**"
        shown = said.replace("|", "\\|") or "nothing"
        return [self.what, share, _span([o.lost_steps for o in good]), _span(waits), _codes(done), shown]


HEAD = ["fault", "recovered", "steps done twice", "s to the next step", "exit codes", "what the user sees"]


def _span(values: Sequence[float]) -> str:
    return f"{_short(statistics.median(values))} / {_short(max(values))}" if values else "–"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _codes(rounds: Sequence[Outcome]) -> str:
    return "; ".join(sorted({", ".join(map(str, outcome.codes)) for outcome in rounds}))


def save(figures: Figures, work: Path) -> None:
    (work / f"{figures.fault}.json").write_text(json.dumps(dataclasses.asdict(figures), indent=1), encoding="utf-8")


def renew(page: Path, work: Path, order: Sequence[str]) -> None:
    """Put in all faults whose figures lie in work."""
    found = [load(work / f"{name}.json") for name in order if (work / f"{name}.json").is_file()]
    machines = dict.fromkeys(described(figures.machine) for figures in found)
    rounds = [outcome for figures in found for outcome in figures.counted]
    took = f"{len(rounds)} rounds, {sum(outcome.seconds for outcome in rounds) / 60:.0f} minutes in all."
    table = markdown_table(HEAD, [figures.cells() for figures in found])
    replace_section(page, "soak", "\n\n".join([*(f"*{machine}*" for machine in machines), took, table]))


def load(path: Path) -> Figures:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Figures(found["fault"], found["what"], [Outcome(**one) for one in found["rounds"]], found["machine"])
