"""Training waits for its data."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from asd.loggers.base import Record
from asd.monitor.alerts.base import AlertRule

MAX_WAIT = 20.0  # percent of the time
# A run of that many intervals, and of that many seconds: the first batches of a run, or of a shard that is just
# being fetched, come late without any harm.
WAITING_INTERVALS, WAITING_S = 3, 30.0


class DataWait(AlertRule):
    """Begins after that many intervals above the limit, is over after as many below."""

    name: ClassVar[str] = "data_wait"

    def __init__(self) -> None:
        self._step, self._holds = 0, False
        self._waits: deque[tuple[float, float]] = deque(maxlen=WAITING_INTERVALS)  # percent, seconds

    def begin(self, step: int, nonfinite_steps: int) -> None:
        self._step = step

    def see_interval(self, step: int, record: Record) -> None:
        percent, seconds = record["data_wait_percent"], (step - self._step) * record["step_s"]
        self._step = step
        self._waits.append((percent, seconds))
        above, total = [wait > MAX_WAIT for wait, _ in self._waits], sum(s for _, s in self._waits)
        if all(above) and len(above) == WAITING_INTERVALS and total >= WAITING_S:
            self._holds = True
        elif not any(above):
            self._holds = False
        share = sum(wait * s for wait, s in self._waits) / total if total else percent
        self.text = None if not self._holds else (
            f"the slowest rank waits for data {share:.0f} % of the time: raise data.threads or data.prefetch, or bring "
            "the shards to a faster disk"
        )  # fmt: skip
