"""The network does not learn its task."""

from __future__ import annotations

from typing import ClassVar

from asd.monitor.alerts.base import AlertRule
from asd.monitor.snapshot import RunSnapshot


class NoLearning(AlertRule):
    """What the newest report says under "warnings" with this code."""

    name: ClassVar[str] = "no_learning"

    def see_snapshot(self, snapshot: RunSnapshot) -> None:
        self.text, self.about = snapshot.warnings.get(self.name), snapshot.scored_step or 0
