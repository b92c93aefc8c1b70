"""The schedule of S3: hold the peak, then fall on a straight line."""

from __future__ import annotations

from typing import Literal

import pydantic

from asd.optim.schedules.base import ScheduleSettings


class HoldLinearConfig(ScheduleSettings, frozen=True):
    """The peak for hold_epochs, then a straight line down to lr·floor over fall_epochs, then lr·floor (S3)."""

    name: Literal["hold_linear"] = "hold_linear"
    hold_epochs: pydantic.NonNegativeFloat = 30.0  # at the peak
    fall_epochs: pydantic.PositiveFloat = 60.0  # from the peak to the floor
    floor: float = pydantic.Field(0.0, ge=0, le=1)  # S3's code has 1e-5, also as a share of the peak

    def factor(self, epoch: float, total_epochs: float) -> float:
        fallen = min(1.0, max(0.0, epoch - self.hold_epochs) / self.fall_epochs)
        return 1 - (1 - self.floor) * fallen
