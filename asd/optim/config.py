"""Settings of optimisers and learning rates."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic


class ConstantConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """The same learning rate throughout, after a linear warm-up."""

    name: Literal["constant"] = "constant"
    warmup_epochs: pydantic.NonNegativeFloat = 0.0  # over which the rate rises to its peak


class CosineConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Linear warm-up, then half a cosine down to lr·floor at the last step."""

    name: Literal["cosine"] = "cosine"
    warmup_epochs: pydantic.NonNegativeFloat = 0.0  # over which the rate rises to its peak
    floor: float = pydantic.Field(0.0, ge=0, le=1)  # of the peak learning rate


class WarmRestartsConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
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


class HoldLinearConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """The peak for hold_epochs, then a straight line down to lr·floor over fall_epochs, then lr·floor (S3)."""

    name: Literal["hold_linear"] = "hold_linear"
    hold_epochs: pydantic.NonNegativeFloat = 30.0  # at the peak
    fall_epochs: pydantic.PositiveFloat = 60.0  # from the peak to the floor
    floor: float = pydantic.Field(0.0, ge=0, le=1)  # S3's code has 1e-5, also as a share of the peak


Decay = Annotated[float, pydantic.Field(ge=0, lt=1)]
ScheduleConfig = ConstantConfig | CosineConfig | WarmRestartsConfig | HoldLinearConfig


class OptimConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Optimiser, peak learning rate and schedule."""

    name: Literal["adam", "adamw", "sgd", "lars"] = "adam"  # the optimiser
    lr: pydantic.PositiveFloat = 2e-4  # the peak learning rate
    weight_decay: pydantic.NonNegativeFloat = 0.0  # adamw: decoupled; the others: added to the gradient
    betas: tuple[Decay, Decay] = (0.9, 0.999)  # adam, adamw
    momentum: Decay = 0.9  # sgd, lars
    trust: pydantic.PositiveFloat = 0.001  # lars
    exclude_vectors: bool = True  # lars: biases and normalisation weights neither decay nor adapt
    schedule: Annotated[ScheduleConfig, pydantic.Field(discriminator="name")] = ConstantConfig()
