"""EfficientNet-B0 (Tan & Le 2019) for spectrograms (S4). Legend: B batch, M mel bins, F frames, D embedding."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
import torch
from torch import Tensor, nn

from asd.backbones.base import Backbone, BackboneSettings, before_last
from asd.backbones.blocks import init_fan_out, projection, scaled
from asd.backbones.norms import NormKind, norm2d

# (expansion, channels, repeats, stride of the first repeat, kernel)
KernelRow = tuple[
    pydantic.PositiveInt, pydantic.PositiveInt, pydantic.PositiveInt, pydantic.PositiveInt, Literal[1, 3, 5, 7]
]
SQUEEZE = 4  # channels of a block's input for each channel of its squeezed description


class EfficientNetConfig(BackboneSettings, frozen=True):
    """B0 by default: 4,007,548 parameters for three channels, without a classifier."""

    name: Literal["efficientnet_b0"] = "efficientnet_b0"
    # rows of (expansion, channels, repeats, first stride, kernel)
    bottlenecks: Annotated[tuple[KernelRow, ...], pydantic.Field(min_length=1)] = (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )
    width: pydantic.PositiveFloat = 1.0  # factor on every channel count
    drop_connect: float = pydantic.Field(0.2, ge=0, lt=1)  # chance to skip the last block; earlier ones less, in line
    embedding: pydantic.PositiveInt | None = None  # null: the pooled map itself, 1280 values at full width
    norm: NormKind = "batch"  # sync: statistics of the global batch; group: of groups of channels within a clip


class EfficientNet(Backbone):
    """(B, channels, M, F) → (B, D)."""

    def __init__(self, config: EfficientNetConfig, channels: int, bins: int) -> None:
        super().__init__()
        stem, last = scaled(32, config.width), scaled(1280, config.width)
        body, inner = _blocks(config, stem)
        self.body = nn.Sequential(
            _conv(channels, stem, 3, 2, norm=config.norm), *body, _conv(inner, last, 1, norm=config.norm)
        )
        self.project, self.embedding_dim = projection(last, config.embedding, config.norm)
        self.apply(init_fan_out)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, channels, M, F) → (B, D)."""
        return self.project(self.body(spectrogram).mean((2, 3)))

    def before_last_block(self) -> list[nn.Module]:
        """The modules before the last block."""
        return before_last(MBConv, self.body)


class MBConv(nn.Module):
    """1x1 expansion, depth-wise convolution, squeeze and excitation, linear 1x1; residual where the shape stays."""

    def __init__(
        self, inner: int, outer: int, stride: int, expansion: int, kernel: int, drop: float, norm: NormKind
    ) -> None:
        super().__init__()
        hidden = inner * expansion
        self.layers = nn.Sequential(
            *([_conv(inner, hidden, 1, norm=norm)] if expansion > 1 else []),
            _conv(hidden, hidden, kernel, stride, groups=hidden, norm=norm),
            SqueezeExcite(hidden, max(1, inner // SQUEEZE)),
            nn.Conv2d(hidden, outer, 1, bias=False),
            norm2d(norm, outer),
        )
        self.residual = stride == 1 and inner == outer
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + drop_connect(y, self.drop, self.training) if self.residual else y


class SqueezeExcite(nn.Module):
    """Channels weighed by a sigmoid of what all positions hold together."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1), nn.SiLU(inplace=True), nn.Conv2d(squeezed, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x.mean((2, 3), keepdim=True))


def drop_connect(x: Tensor, chance: float, training: bool) -> Tensor:
    """(B, ...) with whole clips set to zero by chance and the others scaled up, so that the mean stays."""
    if not training or chance == 0:
        return x
    kept = torch.empty(len(x), *[1] * (x.dim() - 1), dtype=x.dtype, device=x.device).bernoulli_(1 - chance)
    return x * kept / (1 - chance)


def _blocks(config: EfficientNetConfig, inner: int) -> tuple[list[nn.Module], int]:
    blocks: list[nn.Module] = []
    total = sum(row[2] for row in config.bottlenecks)
    for expansion, channels, repeats, stride, kernel in config.bottlenecks:
        outer = scaled(channels, config.width)
        for repeat in range(repeats):
            first, drop = stride if repeat == 0 else 1, config.drop_connect * len(blocks) / total
            blocks.append(MBConv(inner, outer, first, expansion, kernel, drop, config.norm))
            inner = outer
    return blocks, inner


def _conv(inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1, *, norm: NormKind) -> nn.Sequential:
    convolution = nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, norm2d(norm, outer), nn.SiLU(inplace=True))
