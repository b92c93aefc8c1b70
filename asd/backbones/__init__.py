"""Network input (B, channels, bins, frames) → embedding (B, D)."""

from __future__ import annotations

from typing import Annotated

import pydantic
from torch import nn

from asd.backbones.mobilefacenet import MobileFaceNet, MobileFaceNetConfig
from asd.backbones.resnet import ResNet, ResNetConfig
from asd.backbones.resnet_ir import ResNetIR, ResNetIRConfig

BACKBONES: dict[str, type[nn.Module]] = {
    "resnet50": ResNet,
    "resnet50_ir": ResNetIR,
    "mobilefacenet": MobileFaceNet,
}

BackboneConfig = Annotated[ResNetConfig | ResNetIRConfig | MobileFaceNetConfig, pydantic.Field(discriminator="name")]


def build_backbone(config: BackboneConfig, channels: int, bins: int) -> nn.Module:
    """The network that a config names, for inputs of (channels, bins, any number of frames)."""
    return BACKBONES[config.name](config, channels, bins)
