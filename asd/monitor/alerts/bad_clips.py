"""Training clips cannot be read."""

from __future__ import annotations

from typing import ClassVar

from asd.loggers.base import Record
from asd.monitor.alerts.base import AlertRule


class BadClips(AlertRule):
    """Holds to the end: such a clip is silence in every epoch to come."""

    name: ClassVar[str] = "bad_clips"

    def see_interval(self, step: int, record: Record) -> None:
        if count := int(record["bad_clips"]):
            clips = f"{count} training clips" if count > 1 else "a training clip"
            self.text = f"{clips} could not be read and train nothing: run python -m shards.verify on the set"
