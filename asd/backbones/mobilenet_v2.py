"""MobileNetV2 (Sandler et al. 2018): DCASE's baseline of 2021 and 2022 (S6), and the encoder of S5.

Legend: B batch, M mel bins, F frames, D embedding.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Literal

import pydantic
from torch import Tensor, nn

from asd.backbones.base import Backbone, BackboneSettings, before_last
from asd.backbones.blocks import Row, blocks_of, init_fan_out, scaled
from asd.backbones.norms import NormKind, norm2d


class MobileNetV2Config(BackboneSettings, frozen=True):
    """The baseline by default: half width, mean over the last map. S5's encoder: last 320, pool conv."""

    name: Literal["mobilenet_v2"] = "mobilenet_v2"
    width: pydantic.PositiveFloat = 0.5  # factor on the channels of stem and bottlenecks
    # rows of (expansion, channels, repeats, first stride)
    bottlenecks: Annotated[tuple[Row, ...], pydantic.Field(min_length=1)] = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    last: pydantic.PositiveInt = 1280  # channels behind the last 1x1 convolution, not scaled by width
    pool: Literal["mean", "conv"] = (
        "mean"  # conv: one convolution over the map of conv_frames frames, then a linear 1x1
    )
    conv_frames: pydantic.PositiveInt = 64  # frames of every window where pool is conv
    norm: NormKind = "batch"  # sync: statistics of the global batch; group: of groups of channels within a clip

    def fixed_frames(self, windowed: bool) -> int | None:
        return self.conv_frames if self.pool == "conv" and windowed else None


class MobileNetV2(Backbone):
    """(B, channels, M, F) → (B, D), D = last. Longer inputs than conv_frames average the convolution's positions.

    S5's table leaves open what stands behind its last three convolutions: here BN and ReLU6 behind the first two, and
    a plain linear layer with bias as the last, so that the expander sees values of both signs.
    """

    def __init__(self, config: MobileNetV2Config, channels: int, bins: int) -> None:
        super().__init__()
        stem, last, norm = scaled(32, config.width), config.last, config.norm
        body, inner = blocks_of(config.bottlenecks, config.width, stem, partial(Bottleneck, norm=config.norm))
        self.body = nn.Sequential(_conv(channels, stem, 3, 2, norm=norm), *body, _conv(inner, last, 1, norm=norm))
        stride = 2 * math.prod(row[3] for row in config.bottlenecks)
        span = (-(-bins // stride), -(-config.conv_frames // stride))
        self.over_maps: nn.Module = nn.Identity()
        if config.pool == "conv":
            self.over_maps = nn.Sequential(_conv(last, last, span, padding=0, norm=norm), nn.Conv2d(last, last, 1))
        self.embedding_dim = last
        self.apply(init_fan_out)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, channels, M, F) → (B, D)."""
        return self.over_maps(self.body(spectrogram)).mean((2, 3))

    def before_last_block(self) -> list[nn.Module]:
        """The modules before the last bottleneck."""
        return before_last(Bottleneck, self.body)


class Bottleneck(nn.Module):
    """1x1 expansion (none at t = 1), 3x3 depth-wise, linear 1x1; residual where the shape stays."""

    def __init__(self, inner: int, outer: int, stride: int, expansion: int, norm: NormKind) -> None:
        super().__init__()
        hidden = inner * expansion
        self.layers = nn.Sequential(
            *([_conv(inner, hidden, 1, norm=norm)] if expansion > 1 else []),
            _conv(hidden, hidden, 3, stride, groups=hidden, norm=norm),
            nn.Conv2d(hidden, outer, 1, bias=False),
            norm2d(norm, outer),
        )
        self.residual = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def _conv(
    inner: int,
    outer: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: int | None = None,
    groups: int = 1,
    *,
    norm: NormKind,
) -> nn.Sequential:
    """Convolution, normalisation, ReLU6; the map keeps its size but for the stride, unless padding says otherwise."""
    if padding is None:
        padding = kernel // 2 if isinstance(kernel, int) else 0
    convolution = nn.Conv2d(inner, outer, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, norm2d(norm, outer), nn.ReLU6(inplace=True))
