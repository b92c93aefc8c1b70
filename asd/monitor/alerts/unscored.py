"""evaluate.max_unscored evaluations wait to be scored."""

from __future__ import annotations

from typing import ClassVar

from asd.monitor.alerts.base import AlertRule
from asd.monitor.snapshot import RunSnapshot


class Unscored(AlertRule):
    """Over when half of them are scored."""

    name: ClassVar[str] = "unscored"

    def see_snapshot(self, snapshot: RunSnapshot) -> None:
        most = snapshot.max_unscored
        if most is None or snapshot.unscored < (most if self.text is None else most // 2 + 1):
            self.text = None
            return
        remedy = (
            "start python eval.py watch on the run"
            if snapshot.by_watcher
            else "raise evaluate.every_epochs, name fewer evaluate.scorers, or have a watcher (evaluate.by_watcher)"
        )
        self.text = (
            f"{snapshot.unscored} evaluations wait for their scores; of more than {most} (evaluate.max_unscored) the "
            f"oldest are removed: {remedy}"
        )
