"""A step's loss or gradient stands out from those before."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import ClassVar

from asd.loggers.base import Record
from asd.monitor.alerts.base import AlertRule

USUAL_INTERVALS, ENOUGH = 20, 5  # so many are looked back at, and must be there
LIMITS = {"loss": 5.0, "grad_norm": 20.0}  # times the median
NAMES = {"loss": "loss", "grad_norm": "gradient norm"}


class Spike(AlertRule):
    """Holds for the interval of the step. What is not finite is `nonfinite`'s."""

    name: ClassVar[str] = "spike"

    def __init__(self) -> None:
        self._former = {key: deque[float](maxlen=USUAL_INTERVALS) for key in LIMITS}

    def see_interval(self, step: int, record: Record) -> None:
        self.text = None
        for key, former in self._former.items():
            highest, usual = record[f"{key}_highest"], median(former) if len(former) >= ENOUGH else 0.0
            if usual > 0 and highest > LIMITS[key] * usual:
                self.text = (
                    f"the {NAMES[key]} was {highest:.3g} in a step, {highest / usual:.3g} times its median of "
                    f"{usual:.3g}: lower optim.lr, warm up longer, or set train.clip_norm"
                )
            former.append(highest)
