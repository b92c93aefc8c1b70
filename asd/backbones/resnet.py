"""The usual ResNet-50 of bottleneck blocks and global pooling (He et al. 2016): S1's plain softmax, and S4.

Legend: B batch, M mel bins, F frames, D embedding.
"""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor, nn

from asd.backbones.base import Backbone, BackboneSettings, before_last
from asd.backbones.blocks import init_fan_out, projection
from asd.backbones.norms import NormKind, norm2d

EXPANSION = 4


class ResNetConfig(BackboneSettings, frozen=True):
    """ResNet-50 by default; its embedding has 32 times `width` values, 2048 of them."""

    name: Literal["resnet50"] = "resnet50"
    # blocks of each stage
    depths: tuple[pydantic.PositiveInt, pydantic.PositiveInt, pydantic.PositiveInt, pydantic.PositiveInt] = (3, 4, 6, 3)
    width: pydantic.PositiveInt = 64  # channels inside the first stage's blocks
    embedding: pydantic.PositiveInt | None = None  # null: the pooled map itself
    norm: NormKind = "batch"  # sync: statistics of the global batch; group: of groups of channels within a clip


class ResNet(Backbone):
    """(B, channels, M, F) → (B, D)."""

    def __init__(self, config: ResNetConfig, channels: int, bins: int) -> None:
        super().__init__()
        inner = config.width
        layers: list[nn.Module] = [
            nn.Conv2d(channels, inner, 7, 2, 3, bias=False),
            norm2d(config.norm, inner),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ]
        for stage, depth in enumerate(config.depths):
            width = config.width * 2**stage
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Bottleneck(inner, width, stride, config.norm))
                inner = width * EXPANSION
        self.layers = nn.Sequential(*layers)
        self.project, self.embedding_dim = projection(inner, config.embedding, config.norm)
        self.apply(init_fan_out)  # as torchvision's

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, channels, M, F) → (B, D)."""
        return self.project(self.layers(spectrogram).mean((2, 3)))

    def before_last_block(self) -> list[nn.Module]:
        """The modules before the last residual block."""
        return before_last(Bottleneck, self.layers)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1, beside a shortcut."""

    def __init__(self, inner: int, width: int, stride: int, norm: NormKind) -> None:
        super().__init__()
        outer = width * EXPANSION
        self.residual = nn.Sequential(
            nn.Conv2d(inner, width, 1, bias=False),
            norm2d(norm, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            norm2d(norm, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outer, 1, bias=False),
            norm2d(norm, outer),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), norm2d(norm, outer))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual(x) + self.shortcut(x))
