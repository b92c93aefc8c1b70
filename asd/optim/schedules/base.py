"""The interface of a schedule: settings that give a factor on the peak learning rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import pydantic


class ScheduleSettings(pydantic.BaseModel, ABC, extra="forbid", frozen=True, allow_inf_nan=False):
    """Base of the config classes; `name` chooses among them."""

    @abstractmethod
    def factor(self, epoch: float, total_epochs: float) -> float:
        """0 to 1 at a moment of training, in fractional epochs (step / steps per epoch)."""

    def in_epochs(self, steps_per_epoch: int) -> Self:
        """The same schedule with all of its lengths in epochs."""
        return self


class WithWarmUp(ScheduleSettings, frozen=True):
    """Base of schedules that begin with a linear rise."""

    warmup_epochs: pydantic.NonNegativeFloat = 0.0  # over which the rate rises to its peak
    warmup_steps: pydantic.PositiveInt | None = None  # the same counted in steps, in place of warmup_epochs

    @pydantic.model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.warmup_epochs and self.warmup_steps is not None:
            raise ValueError("give warmup_epochs or warmup_steps, one of the two (set the other to 0 or null)")
        return self

    def in_epochs(self, steps_per_epoch: int) -> Self:
        if self.warmup_steps is None:
            return self
        return self.model_copy(update={"warmup_epochs": self.warmup_steps / steps_per_epoch, "warmup_steps": None})


def rise(epoch: float, warmup: float) -> float:
    """Linear from 0 to 1 over warmup epochs."""
    return min(1.0, epoch / warmup) if warmup > 0 else 1.0
