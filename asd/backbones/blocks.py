"""Blocks shared by several networks. Legend: B batch, D embedding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pydantic
from torch import nn

from asd.backbones.norms import NormKind, norm1d

# (expansion, channels, repeats, stride of the first repeat)
Row = tuple[pydantic.PositiveInt, pydantic.PositiveInt, pydantic.PositiveInt, pydantic.PositiveInt]


def scaled(channels: int, width: float) -> int:
    """Channel count times width, in multiples of eight and never more than 10 % below (Sandler et al. 2018)."""
    nearest = max(8, int(channels * width + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels * width else nearest + 8


def blocks_of(
    rows: Sequence[Row], width: float, channels: int, block: Callable[[int, int, int, int], nn.Module]
) -> tuple[list[nn.Module], int]:
    """The blocks of all rows, each made of (channels in, channels out, stride, expansion), and the channels behind."""
    blocks: list[nn.Module] = []
    for expansion, wanted, repeats, stride in rows:
        for repeat in range(repeats):
            outer = scaled(wanted, width)
            blocks.append(block(channels, outer, stride if repeat == 0 else 1, expansion))
            channels = outer
    return blocks, channels


def init_fan_out(module: nn.Module) -> None:
    """N(0, sqrt(2 / fan out)) for a convolution, and no bias at first.

    The fan out is that of one group: torch's own counts all channels for a depth-wise convolution, whose weights then
    begin far too small.
    """
    if isinstance(module, nn.Conv2d):
        fan = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def projection(features: int, embedding: int | None, norm: NormKind) -> tuple[nn.Module, int]:
    """(B, features) → (B, D) by a linear layer and normalisation, and D; nothing at all where embedding is None."""
    if embedding is None:
        return nn.Identity(), features
    return nn.Sequential(nn.Linear(features, embedding, bias=False), norm1d(norm, embedding)), embedding
