"""LARS (You et al. 2017, arXiv 1708.03888)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

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


def lars(config: OptimConfig, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Biases and normalisation weights have one axis at most; where excluded, they neither decay nor adapt."""
    groups: list[dict[str, Any]] = [{"params": weights}]
    if config.exclude_vectors:
        matrices, vectors = ([p for p in weights if (p.ndim > 1) == wide] for wide in (True, False))
        groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0, "adapt": False}]
    groups = [group for group in groups if group["params"]]
    return LARS(groups, config.lr, config.momentum, config.weight_decay, config.trust)
