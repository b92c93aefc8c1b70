"""The interface of a schedule: settings that give a factor on the peak learning rate."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pydantic


class ScheduleSettings(pydantic.BaseModel, ABC, extra="forbid", frozen=True, allow_inf_nan=False):
    """Base of the config classes; `name` chooses among them."""

    @abstractmethod
    def factor(self, epoch: float, total_epochs: float) -> float:
        """0 to 1 at a moment of training, in fractional epochs (step / steps per epoch)."""


def rise(epoch: float, warmup: float) -> float:
    """Linear from 0 to 1 over warmup epochs."""
    return min(1.0, epoch / warmup) if warmup > 0 else 1.0
