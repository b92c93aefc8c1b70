"""The same learning rate throughout, after a linear warm-up."""

from __future__ import annotations

from typing import Literal

from asd.optim.schedules.base import WithWarmUp, rise


class ConstantConfig(WithWarmUp, frozen=True):
    """The same learning rate throughout, after a linear warm-up."""

    name: Literal["constant"] = "constant"

    def factor(self, epoch: float, total_epochs: float) -> float:
        return rise(epoch, self.warmup_epochs)
