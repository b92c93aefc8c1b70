"""Builds the optimiser of the settings, which must be able to skip an update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NewType

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.optim.adam import adam, adamw
from asd.optim.config import OptimConfig
from asd.optim.lars import lars
from asd.optim.sgd import sgd

# An optimiser whose step changes nothing, neither weights nor state, while its `found_inf` is a tensor above 0.
MaskedOptimizer = NewType("MaskedOptimizer", torch.optim.Optimizer)
Build = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Callable[[OptimConfig, list[nn.Parameter]], torch.optim.Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
    "sgd": sgd,
    "lars": lars,
}


def build_optimizer(config: OptimConfig, parameters: Iterable[nn.Parameter]) -> MaskedOptimizer:
    """The optimiser of a config for all parameters that learn."""
    return masked_optimizer(partial(OPTIMIZERS[config.name], config), [p for p in parameters if p.requires_grad])


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
