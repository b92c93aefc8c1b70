"""The same learning rate throughout, after a linear warm-up."""

from __future__ import annotations

from typing import Literal

import pydantic

from asd.optim.schedules.base import ScheduleSettings, rise


class ConstantConfig(ScheduleSettings, frozen=True):
    """The same learning rate throughout, after a linear warm-up."""

    name: Literal["constant"] = "constant"
    warmup_epochs: pydantic.NonNegativeFloat = 0.0  # over which the rate rises to its peak

    def factor(self, epoch: float, total_epochs: float) -> float:
        return rise(epoch, self.warmup_epochs)
