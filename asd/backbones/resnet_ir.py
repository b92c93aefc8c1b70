"""ResNet of ArcFace blocks (Deng et al. 2019, "improved residual" units) for spectrograms.

The integrated 41-class system (S1): the stem and depths of a ResNet-50 with the two-convolution block
BN-Conv-BN-PReLU-Conv-BN, and BN-Dropout-FC-BN instead of global pooling. Legend: B batch, M mel bins, F frames,
D embedding.
"""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor, nn

from asd.backbones.base import Backbone, BackboneSettings, before_last
from asd.backbones.blocks import init_fan_out
from asd.backbones.norms import NormKind, norm1d, norm2d

STRIDE = 32  # of the whole network, along both axes


class ResNetIRConfig(BackboneSettings, frozen=True):
    """ResNet-50 depth by default; (3, 4, 14, 3) is the ArcFace paper's own 50-layer version."""

    name: Literal["resnet50_ir"] = "resnet50_ir"
    # blocks of each stage
    depths: tuple[pydantic.PositiveInt, pydantic.PositiveInt, pydantic.PositiveInt, pydantic.PositiveInt] = (3, 4, 6, 3)
    width: pydantic.PositiveInt = 64  # channels of the first stage; later stages double it
    pool: Literal["time_mean", "flatten"] = "time_mean"  # flatten: the literal fixed-length version
    flatten_frames: pydantic.PositiveInt = 313  # frames of every clip where pool is flatten
    embedding: pydantic.PositiveInt = 2048  # values of an embedding
    dropout: float = pydantic.Field(0.4, ge=0, lt=1)  # the ArcFace paper's; S1's source gives none
    norm: NormKind = "batch"  # sync: statistics of the global batch; group: of groups of channels within a clip

    def fixed_frames(self, windowed: bool) -> int | None:
        return self.flatten_frames if self.pool == "flatten" else None


class ResNetIR(Backbone):
    """(B, channels, M, F) → (B, D)."""

    def __init__(self, config: ResNetIRConfig, channels: int, bins: int) -> None:
        super().__init__()
        self.config = config
        self.embedding_dim = config.embedding
        widths = [config.width * 2**stage for stage in range(4)]
        self.stem = _stem(channels, widths[0], config.norm)
        self.stages = nn.Sequential(
            *(
                _stage(inner, outer, depth, 1 if index == 0 else 2, config.norm)
                for index, (inner, outer, depth) in enumerate(
                    zip([widths[0], *widths[:3]], widths, config.depths, strict=True)
                )
            )
        )
        columns = 1 if config.pool == "time_mean" else _out_size(config.flatten_frames)
        features = widths[3] * _out_size(bins) * columns
        self.neck = nn.Sequential(
            norm1d(config.norm, features),
            nn.Dropout(config.dropout),
            nn.Linear(features, config.embedding),
            norm1d(config.norm, config.embedding),
        )
        self.apply(init_fan_out)  # as torchvision's ResNet, which S1 began with

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, channels, M, F) → (B, D)."""
        maps = self.stages(self.stem(spectrogram))
        if self.config.pool == "time_mean":
            maps = maps.mean(-1)
        return self.neck(maps.flatten(1))

    def before_last_block(self) -> list[nn.Module]:
        """The modules before the last residual block."""
        blocks = [block for stage in self.stages.children() for block in stage.children()]
        return before_last(Block, [self.stem, *blocks])


def _out_size(size: int) -> int:
    """Length of an axis behind all five halvings (each rounds up)."""
    return -(-size // STRIDE)


def _stem(channels: int, width: int, norm: NormKind) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 7, 2, 3, bias=False),
        norm2d(norm, width),
        nn.PReLU(width),
        nn.MaxPool2d(3, 2, 1),
    )


def _stage(inner: int, outer: int, depth: int, stride: int, norm: NormKind) -> nn.Sequential:
    first = Block(inner, outer, stride, norm)
    return nn.Sequential(first, *(Block(outer, outer, 1, norm) for _ in range(depth - 1)))


class Block(nn.Module):
    """BN-Conv-BN-PReLU-Conv-BN beside a shortcut (1x1 convolution and BN where the shape changes)."""

    def __init__(self, inner: int, outer: int, stride: int, norm: NormKind) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            norm2d(norm, inner),
            nn.Conv2d(inner, outer, 3, 1, 1, bias=False),
            norm2d(norm, outer),
            nn.PReLU(outer),
            nn.Conv2d(outer, outer, 3, stride, 1, bias=False),
            norm2d(norm, outer),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), norm2d(norm, outer))

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)
