"""Optimisers and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Literal

import pydantic
import torch
from torch import nn


class ConstantConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """The same learning rate throughout, after a linear warm-up."""

    name: Literal["constant"] = "constant"
    warmup_epochs: pydantic.NonNegativeFloat = 0.0


class CosineConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Linear warm-up, then half a cosine down to lr·floor at the last step."""

    name: Literal["cosine"] = "cosine"
    warmup_epochs: pydantic.NonNegativeFloat = 0.0
    floor: float = pydantic.Field(0.0, ge=0, le=1)  # of the peak learning rate


class WarmRestartsConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Cycles of t_0, t_0·t_mult, t_0·t_mult² … epochs; each rises linearly for t_up epochs, then falls as a cosine.

    The schedule of S1 (Loshchilov & Hutter 2017, with warm-up in every cycle).
    """

    name: Literal["warm_restarts"] = "warm_restarts"
    t_0: float = pydantic.Field(10.0, ge=0.01)  # epochs
    t_mult: float = pydantic.Field(2.0, ge=1)
    t_up: pydantic.NonNegativeFloat = 2.0
    floor: float = pydantic.Field(0.0, ge=0, le=1)

    @pydantic.model_validator(mode="after")
    def _rises_before_it_falls(self) -> WarmRestartsConfig:
        if self.t_up >= self.t_0:
            raise ValueError(f"t_up {self.t_up:g} must be shorter than t_0 {self.t_0:g}")
        return self


Decay = Annotated[float, pydantic.Field(ge=0, lt=1)]
ScheduleConfig = ConstantConfig | CosineConfig | WarmRestartsConfig


class OptimConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Optimiser, peak learning rate and schedule."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: pydantic.PositiveFloat = 2e-4
    weight_decay: pydantic.NonNegativeFloat = 0.0
    betas: tuple[Decay, Decay] = (0.9, 0.999)  # adam, adamw
    momentum: Decay = 0.9  # sgd
    schedule: Annotated[ScheduleConfig, pydantic.Field(discriminator="name")] = ConstantConfig()


def build_optimizer(config: OptimConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser in its fused form, which can mask an update on the device (see trainer)."""
    wanted = [p for p in parameters if p.requires_grad]
    common = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
    if config.name == "sgd":
        sgd = torch.optim.SGD(wanted, momentum=config.momentum, **common)  # type: ignore[arg-type]
        for p in wanted:  # torch leaves it uninitialised memory where the very first update is masked
            sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return sgd
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(wanted, betas=config.betas, **common)  # type: ignore[arg-type]


def lr_at(config: OptimConfig, epoch: float, total_epochs: float) -> float:
    """Learning rate at a moment of training, in fractional epochs (step / steps per epoch)."""
    schedule = config.schedule
    match schedule:
        case ConstantConfig():
            factor = _rise(epoch, schedule.warmup_epochs)
        case CosineConfig():
            factor = _cycle(epoch, schedule.warmup_epochs, total_epochs, schedule.floor)
        case WarmRestartsConfig():
            begin, length = _restart_cycle(epoch, schedule.t_0, schedule.t_mult)
            factor = _cycle(epoch - begin, schedule.t_up, length, schedule.floor)
    return config.lr * factor


def _rise(epoch: float, warmup: float) -> float:
    return min(1.0, epoch / warmup) if warmup > 0 else 1.0


def _cycle(epoch: float, warmup: float, length: float, floor: float) -> float:
    """Linear from 0 to 1 over warmup, then a cosine from 1 to floor until length."""
    if epoch < warmup:
        return _rise(epoch, warmup)
    progress = min(1.0, (epoch - warmup) / max(length - warmup, 1e-9))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _restart_cycle(epoch: float, t_0: float, t_mult: float) -> tuple[float, float]:
    """(begin, length) in epochs of the cycle that an epoch falls in."""
    begin, length = 0.0, t_0
    while epoch >= begin + length:
        begin, length = begin + length, length * t_mult
    return begin, length
