"""Settings of optimisers."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from asd.optim.schedules import ScheduleConfig
from asd.optim.schedules.constant import ConstantConfig

Decay = Annotated[float, pydantic.Field(ge=0, lt=1)]


class GroupConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """A part of the network that learns at a rate of its own, which follows the same schedule."""

    part: str = pydantic.Field(min_length=1)  # of which its weights' names begin, such as loss or encoder.backbone
    lr: pydantic.PositiveFloat  # its peak learning rate


class OptimConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Optimiser, peak learning rate and schedule."""

    name: Literal["adam", "adamw", "sgd", "lars"] = "adam"  # the optimiser
    lr: pydantic.PositiveFloat = 2e-4  # the peak learning rate
    weight_decay: pydantic.NonNegativeFloat = 0.0  # adamw: decoupled; the others: added to the gradient
    betas: tuple[Decay, Decay] = (0.9, 0.999)  # adam, adamw
    momentum: Decay = 0.9  # sgd, lars
    trust: pydantic.PositiveFloat = 0.001  # lars
    exclude_vectors: bool = True  # lars: biases and normalisation weights neither decay nor adapt
    groups: tuple[GroupConfig, ...] = ()  # parts with learning rates of their own; the rest has lr
    schedule: ScheduleConfig = ConstantConfig()

    def in_epochs(self, steps_per_epoch: int) -> OptimConfig:
        """The same with all lengths of the schedule in epochs."""
        return self.model_copy(update={"schedule": self.schedule.in_epochs(steps_per_epoch)})

    def lr_at(self, epoch: float, total_epochs: float) -> float:
        """The learning rate at a moment of training, in fractional epochs (step / steps per epoch).

        Of a schedule with a length in steps, see `in_epochs`.
        """
        return self.lr * self.schedule.factor(epoch, total_epochs)
