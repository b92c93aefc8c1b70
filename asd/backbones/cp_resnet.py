"""ResNet whose receptive field is kept small (Koutini et al. 2019) in CP-JKU's shape for machine sounds (S3).

Legend: B batch, M mel bins, F frames, m × f positions of the last map, D embedding.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic
from torch import Tensor, nn

from asd.backbones.base import Backbone, BackboneSettings, before_last
from asd.backbones.input_norm import InputNorm, input_norm
from asd.backbones.norms import NormKind, norm2d
from asd.errors import UserError

BLOCKS = 4  # of each of the three stages
RHO_MOST = 2 * 3 * BLOCKS - 2  # convolutions behind the first block
LEAST = 5  # bins and frames, so that one value is left behind the stem and the pooling


class CPResNetConfig(BackboneSettings, frozen=True):
    """The receptive field along an axis is 11 + 8·rho input bins or frames: 12 → 107, 8 → 75, 5 → 51, 3 → 35."""

    shows_maps: ClassVar[bool] = True

    name: Literal["cp_resnet"] = "cp_resnet"
    rho_f: int = pydantic.Field(12, ge=0, le=RHO_MOST)  # along frequency
    rho_t: int = pydantic.Field(12, ge=0, le=RHO_MOST)  # along time
    width: pydantic.PositiveInt = 128  # channels of the first stage; the others have two and four times as many
    # of the spectrogram: by batch normalisation of its one channel (batch) or of each mel band (mel)
    input_norm: InputNorm = "batch"
    norm: NormKind = "batch"  # sync: statistics of the global batch; group: of groups of channels within a clip

    def least_frames(self) -> int:
        return LEAST

    @pydantic.model_validator(mode="after")
    def _bins_need_batch_statistics(self) -> CPResNetConfig:
        if self.input_norm == "mel" and self.norm == "group":
            raise ValueError("input_norm=mel needs statistics over clips, which norm=group has not: use batch or sync")
        return self


class CPResNet(Backbone):
    """(B, channels, M, F) → (B, D), the mean over the positions of the last map; D is four times the width, 512.

    The published head is a 1x1 convolution of the map to the classes, BatchNorm and the average over positions: loss
    softmax with `norm: batch`. Without it the classifier is a linear one on this embedding, equal in evaluation only.
    """

    def __init__(self, config: CPResNetConfig, channels: int, bins: int) -> None:
        super().__init__()
        if bins < LEAST:
            raise UserError(f"backbone cp_resnet needs at least {LEAST} bins, the frontend gives {bins}")
        width, norm = config.width, config.norm
        self.input_norm = input_norm(config.input_norm, norm, channels, bins)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 5, 2, 1, bias=False), norm2d(norm, width), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(
            Block(width, width, (3, 3), (1, 1), norm), nn.MaxPool2d(2), *_later_blocks(config, width)
        )
        self.embedding_dim = 4 * width
        self.apply(_init_conv)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, channels, M, F) → (B, D)."""
        return self.pool(self.forward_map(spectrogram))

    def forward_map(self, spectrogram: Tensor) -> Tensor:
        """(B, channels, M, F) → (B, D, m, f), what the published CCSA compares position by position."""
        if spectrogram.shape[-1] < LEAST:
            raise UserError(f"a clip gives {spectrogram.shape[-1]} frames, backbone cp_resnet needs at least {LEAST}")
        return self.blocks(self.stem(self.input_norm(spectrogram)))

    def pool(self, maps: Tensor) -> Tensor:
        """(B, D, m, f) → (B, D)."""
        return maps.mean((2, 3))

    def before_last_block(self) -> list[nn.Module]:
        """The modules before the last residual block."""
        return before_last(Block, [self.input_norm, self.stem, *self.blocks])


class Block(nn.Module):
    """Two convolutions beside a shortcut (1x1 convolution and BN where the width changes); ReLU behind the sum."""

    def __init__(self, inner: int, outer: int, first: tuple[int, int], second: tuple[int, int], norm: NormKind) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv(inner, outer, first),
            norm2d(norm, outer),
            nn.ReLU(inplace=True),
            _conv(outer, outer, second),
            norm2d(norm, outer),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inner != outer:
            self.shortcut = nn.Sequential(_conv(inner, outer, (1, 1)), norm2d(norm, outer))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual(x) + self.shortcut(x))


def kernel(config: CPResNetConfig, index: int) -> tuple[int, int]:
    """Kernel of the index-th convolution behind the first block: the first rho of them are 3 wide, the others 1."""
    return (3 if index < config.rho_f else 1, 3 if index < config.rho_t else 1)


def _later_blocks(config: CPResNetConfig, width: int) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    inner = width
    for number in range(1, 3 * BLOCKS):
        outer, index = width * 2 ** (number // BLOCKS), 2 * (number - 1)
        blocks.append(Block(inner, outer, kernel(config, index), kernel(config, index + 1), config.norm))
        inner = outer
    return blocks


def _conv(inner: int, outer: int, size: tuple[int, int]) -> nn.Conv2d:
    """Keeps the size of the map."""
    return nn.Conv2d(inner, outer, size, padding=(size[0] // 2, size[1] // 2), bias=False)


def _init_conv(module: nn.Module) -> None:
    """He et al. (2015) by the fan in, as published."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
