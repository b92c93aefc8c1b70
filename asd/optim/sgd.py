"""Stochastic gradient descent with momentum, torch's fused one, which looks at found_inf."""

from __future__ import annotations

import torch
from torch import nn

from asd.optim.config import OptimConfig


def sgd(config: OptimConfig, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(
        weights, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
    )
    if config.momentum > 0:
        for weight in weights:  # torch leaves it uninitialised memory where the very first update is masked
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizer
