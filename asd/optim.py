"""Optimisers and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, Literal, NewType

import pydantic
import torch
from torch import Tensor, nn

from asd.errors import UserError


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


# An optimiser whose step changes nothing, neither weights nor state, while its `found_inf` is a tensor above 0.
MaskedOptimizer = NewType("MaskedOptimizer", torch.optim.Optimizer)
Build = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def build_optimizer(config: OptimConfig, parameters: Iterable[nn.Parameter]) -> MaskedOptimizer:
    """The optimiser of a config for all parameters that learn."""
    return masked_optimizer(partial(_of_config, config), [p for p in parameters if p.requires_grad])


def _of_config(config: OptimConfig, wanted: list[nn.Parameter]) -> torch.optim.Optimizer:
    """torch's fused ones, which look at found_inf (its others do not), or our LARS."""
    if config.name == "lars":
        return LARS(_lars_groups(config, wanted), config.lr, config.momentum, config.weight_decay, config.trust)
    common = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
    if config.name == "sgd":
        sgd = torch.optim.SGD(wanted, momentum=config.momentum, **common)  # type: ignore[arg-type]
        if config.momentum > 0:
            for p in wanted:  # torch leaves it uninitialised memory where the very first update is masked
                sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return sgd
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(wanted, betas=config.betas, **common)  # type: ignore[arg-type]


def masked_optimizer(build: Build, parameters: list[nn.Parameter]) -> MaskedOptimizer:
    """What `build` makes for the parameters; UserError where it cannot mask an update, as most of torch's cannot.

    The trainer raises found_inf for a gradient that is not finite and waits for no device: an optimiser that does not
    look at it would write NaN into every weight, silently. So it is tried, on a few numbers on the same device: with
    masked updates before, between and after two sound ones, weights and state must be those of the sound ones alone.
    """
    optimizer, device = build(parameters), parameters[0].device
    try:
        alike = _same(_after(build, (1, 0, 1, 1, 0, 1), device), _after(build, (0, 0), device))
    except Exception:  # some refuse the flag, dense gradients, weights that are no matrices, a step without closure
        alike = False
    if not alike:
        raise UserError(
            f"the optimiser {type(optimizer).__name__} does not leave out an update whose gradient is not finite "
            "(torch's found_inf), and would lose the weights to it: use optim.name=adam, adamw, sgd or lars"
        )
    return MaskedOptimizer(optimizer)


def _after(build: Build, masks: Iterable[int], device: torch.device) -> list[Any]:
    """A few weights and all state of their optimiser behind some updates, of which the masked ones see no numbers."""
    weights = [nn.Parameter(torch.ones(shape, device=device)) for shape in ((2, 3), (3,))]
    optimizer = build(weights)
    for masked in masks:
        for p in weights:
            p.grad = torch.full_like(p, math.nan if masked else 0.5)
        optimizer.found_inf = torch.full((), float(masked), device=device)  # type: ignore[attr-defined]
        optimizer.step()
    return [*weights, *(value for p in weights for _, value in sorted(optimizer.state[p].items()))]


def _same(ours: list[Any], theirs: list[Any]) -> bool:
    pairs = [[value.tolist() if isinstance(value, Tensor) else value for value in found] for found in (ours, theirs)]
    return pairs[0] == pairs[1]


class LARS(torch.optim.Optimizer):
    """Momentum SGD whose step in each matrix is a share of the matrix's own norm (You et al. 2017, arXiv 1708.03888).

    As in VICReg's code: u = g + weight_decay·p; u·trust·|p|/|u| where the group adapts and neither norm is 0;
    v = momentum·v + u; p − lr·v. (The paper has lr inside v and |g| + weight_decay·|p| for |u|.)
    With `found_inf` set and not 0, as GradScaler and the trainer do, a step changes nothing, without asking the device.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | list[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapt": True}
        super().__init__(params, defaults)
        self._step_supports_amp_scaling = True  # GradScaler hands over grad_scale and found_inf instead of waiting

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        found_inf = getattr(self, "found_inf", None)
        masked = None if found_inf is None else found_inf.bool()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._step_one(p, p.grad, group, masked)

    def _step_one(self, p: Tensor, gradient: Tensor, group: dict[str, Any], masked: Tensor | None) -> None:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        velocity = state["momentum_buffer"]
        faster = group["momentum"] * velocity + self._adapted(p, gradient, group)
        for old, new in ((p, p - group["lr"] * faster), (velocity, faster)):
            old.copy_(new if masked is None else torch.where(masked, old, new))

    def _adapted(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        """The decayed gradient, at the length that the trust coefficient allows."""
        grad_scale = getattr(self, "grad_scale", None)
        if grad_scale is not None:
            gradient = gradient / grad_scale
        update = gradient.add(p, alpha=group["weight_decay"])
        if not group["adapt"]:
            return update
        own, length = torch.linalg.vector_norm(p), torch.linalg.vector_norm(update)
        ratio = group["trust"] * own / length
        return update * torch.where((own > 0) & (length > 0), ratio, 1.0)


def _lars_groups(config: OptimConfig, parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    """Weights of two and more axes; biases and normalisation weights, which have one at most."""
    if not config.exclude_vectors:
        return [{"params": parameters}]
    matrices, vectors = ([p for p in parameters if (p.ndim > 1) == wide] for wide in (True, False))
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0, "adapt": False}]
    return [group for group in groups if group["params"]]


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
        case HoldLinearConfig():
            fallen = min(1.0, max(0.0, epoch - schedule.hold_epochs) / schedule.fall_epochs)
            factor = 1 - (1 - schedule.floor) * fallen
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
