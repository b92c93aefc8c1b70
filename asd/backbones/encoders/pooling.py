"""From the tokens of an encoder to one embedding a clip. Legend: B batch, F places in time, S bands, V values."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Pool = Literal["mean", "bands", "cls", "attentive"]
HIDDEN = 128  # values between the two layers that weigh a token


class Tokens(NamedTuple):
    """What a layer of an encoder says of a clip."""

    grid: Tensor  # (B, F, S, V)
    whole: Tensor | None = None  # (B, V), of the clip as a whole, where the encoder has such a token


class AttentiveStatistics(nn.Module):
    """(B, N, V) → (B, 2V): mean and standard deviation of tokens, weighted by softmax(v·tanh(W·x + b)).

    Attentive statistics pooling (Okabe, Koshinaka & Shinoda 2018, arXiv 1803.10963), in float32.
    """

    def __init__(self, values: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Linear(values, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1, bias=False))

    def forward(self, tokens: Tensor) -> Tensor:
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.float()
            weight = self.weigh(tokens).softmax(1)
            mean = (weight * tokens).sum(1)
            variance = (weight * (tokens - mean.unsqueeze(1)).square()).sum(1)
            return torch.cat([mean, (variance + 1e-8).sqrt()], 1)


def pooled(tokens: Tokens, how: Pool) -> Tensor:
    """(B, V), or with bands (B, V·S), value by value and in each band by band: mean, bands or cls."""
    if how == "cls":
        assert tokens.whole is not None
        return tokens.whole
    if how == "bands":
        return tokens.grid.mean(1).transpose(1, 2).flatten(1)
    return tokens.grid.mean((1, 2))
