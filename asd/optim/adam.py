"""Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019), torch's fused ones, which look at found_inf."""

from __future__ import annotations

import torch
from torch import nn

from asd.optim.config import OptimConfig


def adam(config: OptimConfig, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(weights, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)


def adamw(config: OptimConfig, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)
