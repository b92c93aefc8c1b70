"""Updates were skipped, since loss or gradient was not finite."""

from __future__ import annotations

from typing import ClassVar

from asd.loggers.base import Record
from asd.monitor.alerts.base import AlertRule


class Nonfinite(AlertRule):
    """Over after an interval without any."""

    name: ClassVar[str] = "nonfinite"
    _so_far = 0

    def begin(self, step: int, nonfinite_steps: int) -> None:
        self._so_far = nonfinite_steps

    def see_interval(self, step: int, record: Record) -> None:
        count = int(record["nonfinite_steps"])
        more, self._so_far = count - self._so_far, count
        updates = f"{more} updates were" if more > 1 else "an update was"
        self.text = None if more <= 0 else (
            f"{updates} skipped, loss or gradient was not finite ({count} so far): where it happens again and again, "
            "use distributed.precision=fp32, or a lower optim.lr in another run.dir"
        )  # fmt: skip
