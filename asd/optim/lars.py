"""LARS (You et al. 2017, arXiv 1708.03888)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from asd.optim.config import OptimConfig


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
        """Update every parameter that has a gradient: all of a group by a few operations, the last one torch's SGD."""
        for group in self.param_groups:
            if not (weights := [p for p in group["params"] if p.grad is not None]):
                continue
            for p in weights:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            sgd(
                weights,
                self._adapted(weights, group),
                [self.state[p]["momentum_buffer"] for p in weights],
                fused=True,
                found_inf=getattr(self, "found_inf", None),
                weight_decay=0.0,
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )

    def _adapted(self, weights: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """The decayed gradients, each at the length that the trust coefficient allows."""
        gradients = [p.grad for p in weights if p.grad is not None]
        grad_scale = getattr(self, "grad_scale", None)
        if grad_scale is not None:
            gradients = list(torch._foreach_div(gradients, grad_scale))
        updates = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
        if group["adapt"]:
            own, length = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, updates))
            ratio = torch.where((own > 0) & (length > 0), group["trust"] * own / length, 1.0)
            torch._foreach_mul_(updates, ratio.unbind())
        return updates


def lars(config: OptimConfig, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Biases and normalisation weights have one axis at most; where excluded, they neither decay nor adapt."""
    groups: list[dict[str, Any]] = [{"params": weights}]
    if config.exclude_vectors:
        matrices, vectors = ([p for p in weights if (p.ndim > 1) == wide] for wide in (True, False))
        groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0, "adapt": False}]
    groups = [group for group in groups if group["params"]]
    return LARS(groups, config.lr, config.momentum, config.weight_decay, config.trust)
