"""MobileFaceNet (Chen et al. 2018) of TASTgram-MFN (S2) and of PFU (S4). Legend: B batch, M mel bins, F frames."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Literal

import pydantic
from torch import Tensor, nn

from asd.backbones.base import Backbone, BackboneSettings, before_last
from asd.backbones.blocks import Row, blocks_of, scaled
from asd.backbones.norms import NormKind, norm1d, norm2d


class MobileFaceNetConfig(BackboneSettings, frozen=True):
    """Bottlenecks are (expansion, channels, repeats, first stride); S2's by default."""

    name: Literal["mobilefacenet"] = "mobilefacenet"
    # rows of (expansion, channels, repeats, first stride)
    bottlenecks: Annotated[tuple[Row, ...], pydantic.Field(min_length=1)] = (
        (2, 128, 2, 2),
        (4, 128, 2, 2),
        (4, 128, 2, 2),
    )
    width: pydantic.PositiveFloat = 1.0  # factor on every channel count but the embedding's
    embedding: pydantic.PositiveInt = 128  # values of an embedding
    pool: Literal["time_mean", "conv"] = "time_mean"  # conv: the published global convolution, one clip length
    conv_frames: pydantic.PositiveInt = 313  # frames of every clip where pool is conv
    norm: NormKind = "batch"  # sync: statistics of the global batch; group: of groups of channels within a clip

    def fixed_frames(self, windowed: bool) -> int | None:
        return self.conv_frames if self.pool == "conv" else None


class MobileFaceNet(Backbone):
    """(B, channels, M, F) → (B, D); with pool time_mean the linear global convolution spans frequency alone."""

    def __init__(self, config: MobileFaceNetConfig, channels: int, bins: int) -> None:
        super().__init__()
        self.config = config
        self.embedding_dim = config.embedding
        stem, last = (scaled(count, config.width) for count in (64, 512))
        stride = math.prod(row[3] for row in config.bottlenecks) * 2
        body, width = blocks_of(config.bottlenecks, config.width, stem, partial(Bottleneck, norm=config.norm))
        self.body = nn.Sequential(
            _conv(channels, stem, 3, 2, 1, norm=config.norm),
            _conv(stem, stem, 3, 1, 1, groups=stem, norm=config.norm),
            *body,
            _conv(width, last, 1, norm=config.norm),
        )
        height = -(-bins // stride)
        span = (height, -(-config.conv_frames // stride)) if config.pool == "conv" else (height, 1)
        self.over_maps = _conv(last, last, span, groups=last, linear=True, norm=config.norm)
        self.project = nn.Linear(last, config.embedding, bias=False)
        self.norm = norm1d(config.norm, config.embedding)
        self.apply(_init_conv)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, channels, M, F) → (B, D)."""
        pooled = self.over_maps(self.body(spectrogram)).mean((2, 3))
        return self.norm(self.project(pooled))

    def before_last_block(self) -> list[nn.Module]:
        """The modules before the last bottleneck."""
        return before_last(Bottleneck, self.body)


class Bottleneck(nn.Module):
    """1x1 expansion, 3x3 depth-wise, linear 1x1; residual where stride is 1 and the widths are equal."""

    def __init__(self, inner: int, outer: int, stride: int, expansion: int, norm: NormKind) -> None:
        super().__init__()
        hidden = inner * expansion
        self.layers = nn.Sequential(
            _conv(inner, hidden, 1, norm=norm),
            _conv(hidden, hidden, 3, stride, 1, groups=hidden, norm=norm),
            _conv(hidden, outer, 1, linear=True, norm=norm),
        )
        self.residual = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def _conv(
    inner: int,
    outer: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    linear: bool = False,
    *,
    norm: NormKind,
) -> nn.Sequential:
    layers = [nn.Conv2d(inner, outer, kernel, stride, padding, groups=groups, bias=False), norm2d(norm, outer)]
    return nn.Sequential(*layers) if linear else nn.Sequential(*layers, nn.PReLU(outer))


def _init_conv(module: nn.Module) -> None:
    """N(0, sqrt(2 / (k·k·out))), as published."""
    if isinstance(module, nn.Conv2d):
        fan = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan))
