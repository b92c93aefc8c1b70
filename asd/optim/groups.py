"""Parts of a network that learn at a rate of their own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from asd.errors import UserError
from asd.optim.config import OptimConfig


class Part(NamedTuple):
    """Parameters that learn, and their learning rate as a share of optim.lr."""

    share: float
    parameters: list[nn.Parameter]


def parts_of(config: OptimConfig, module: nn.Module) -> list[Part]:
    """The parts that `optim.groups` names, each parameter in the first that it fits.

    UserError where nothing that learns is left for one, or nothing learns at all.
    """
    waiting = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not waiting:
        raise UserError("nothing of the network learns: change model.freeze, backbone.tune or loss.trained")
    parts, starts = [], sorted({".".join(name.split(".")[:3]) for name in waiting})
    for group in config.groups:
        own = [name for name in waiting if f"{name}.".startswith(f"{group.part}.")]
        if not own:
            raise UserError(f"optim.groups: nothing that learns is called {group.part}…: there is {', '.join(starts)}")
        parts.append(Part(group.lr / config.lr, [waiting.pop(name) for name in own]))
    return parts


def set_apart(optimizer: torch.optim.Optimizer, parts: list[Part]) -> None:
    """Give parts groups of their own in an optimiser, each with its `lr_share`; what the groups had else stays."""
    for part in parts:
        own = {id(parameter) for parameter in part.parameters}
        for group in list(optimizer.param_groups):
            moved = [p for p in group["params"] if id(p) in own]
            group["params"] = [p for p in group["params"] if id(p) not in own]
            if moved:
                optimizer.add_param_group({**group, "params": moved, "lr_share": part.share})
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
