"""The interface of an alert, a rule on the state of a run; and which alerts began and ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asd.loggers.base import Record
from asd.monitor.snapshot import RunSnapshot
from asd.monitor.stalls import Stall
from asd.monitor.status import Alert


class AlertRule:
    """One alert. It overrides what it looks at, and sets its text there: what is wrong and what to do, or None."""

    name: ClassVar[str]
    text: str | None = None
    about: int | None = None  # the step that the text is about; None: the newest

    def begin(self, step: int, nonfinite_steps: int) -> None:
        """The run begins, or goes on, at a step, after so many updates that were skipped."""

    def see_interval(self, step: int, record: Record) -> None:
        """A line of metrics.jsonl with a loss (docs/files.md); an interval ends at the step."""

    def see_snapshot(self, snapshot: RunSnapshot) -> None:
        """What there is of checkpoints and scores by now."""

    def see_stalls(self, stalls: Mapping[int, Stall], world_size: int, folder: Path) -> None:
        """Ranks that are stalled, as far as they have said so, with their stacks in a folder; every second."""


@dataclass(frozen=True)
class Change:
    """An alert that began, or ended."""

    alert: Alert
    began: bool
    step: int

    @property
    def line(self) -> str:
        if self.began:
            return f"alert {self.alert.name} at step {self.step}: {self.alert.text}"
        return f"alert {self.alert.name} is over at step {self.step} (began at step {self.alert.since_step})"


class Alerts:
    """The rules of a run, and the alerts that hold."""

    def __init__(self, rules: Sequence[AlertRule]) -> None:
        self.rules = rules
        self._active: dict[str, Alert] = {}

    @property
    def active(self) -> tuple[Alert, ...]:
        return tuple(self._active.values())

    def changes(self, step: int) -> list[Change]:
        """What began and what ended since the last call; an alert that goes on takes the newest text quietly."""
        found = []
        for rule in self.rules:
            former, at = self._active.pop(rule.name, None), step if rule.about is None else rule.about
            if rule.text is not None:
                alert = Alert(name=rule.name, since_step=former.since_step if former else at, text=rule.text)
                self._active[rule.name] = alert
                if former is None:
                    found.append(Change(alert, True, at))
            elif former is not None:
                found.append(Change(former, False, at))
        return found
