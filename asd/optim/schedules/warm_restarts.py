"""The schedule of S1: warm restarts with a warm-up in every cycle (Loshchilov & Hutter 2017)."""

from __future__ import annotations

from typing import Literal

import pydantic

from asd.optim.schedules.base import ScheduleSettings
from asd.optim.schedules.cosine import cycle


class WarmRestartsConfig(ScheduleSettings, frozen=True):
    """Cycles of t_0, t_0·t_mult, t_0·t_mult² … epochs; each rises linearly for t_up epochs, then falls as a cosine.

    The schedule of S1 (Loshchilov & Hutter 2017, with warm-up in every cycle).
    """

    name: Literal["warm_restarts"] = "warm_restarts"
    t_0: float = pydantic.Field(10.0, ge=0.01)  # epochs
    t_mult: float = pydantic.Field(2.0, ge=1)  # by which each cycle is longer than the one before
    t_up: pydantic.NonNegativeFloat = 2.0  # epochs of rise at the beginning of each cycle
    floor: float = pydantic.Field(0.0, ge=0, le=1)  # of the peak learning rate

    @pydantic.model_validator(mode="after")
    def _rises_before_it_falls(self) -> WarmRestartsConfig:
        if self.t_up >= self.t_0:
            raise ValueError(f"t_up {self.t_up:g} must be shorter than t_0 {self.t_0:g}")
        return self

    def factor(self, epoch: float, total_epochs: float) -> float:
        begin, length = 0.0, self.t_0
        while epoch >= begin + length:
            begin, length = begin + length, length * self.t_mult
        return cycle(epoch - begin, self.t_up, length, self.floor)
