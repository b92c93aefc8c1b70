"""Network input (B, channels, bins, frames) → embedding (B, D), or → its own reconstruction."""

from __future__ import annotations

from typing import Annotated

import pydantic
from torch import nn

from asd.backbones.autoencoder import Autoencoder, AutoencoderConfig
from asd.backbones.cp_resnet import CPResNet, CPResNetConfig
from asd.backbones.efficientnet import EfficientNet, EfficientNetConfig
from asd.backbones.mobilefacenet import MobileFaceNet, MobileFaceNetConfig
from asd.backbones.mobilenet_v2 import MobileNetV2, MobileNetV2Config
from asd.backbones.resnet import ResNet, ResNetConfig
from asd.backbones.resnet_ir import ResNetIR, ResNetIRConfig
from asd.backbones.wavenet import SampleWaveNet, SampleWaveNetConfig, WaveNet, WaveNetConfig

BACKBONES: dict[str, type[nn.Module]] = {
    "resnet50": ResNet,
    "resnet50_ir": ResNetIR,
    "mobilefacenet": MobileFaceNet,
    "mobilenet_v2": MobileNetV2,
    "efficientnet_b0": EfficientNet,
    "cp_resnet": CPResNet,
}
# `forward(x)` predicts `target(x)`; x is the waveform where `takes_waveform`, else a spectrogram or its windows.
RECONSTRUCTORS: dict[str, type[nn.Module]] = {
    "autoencoder": Autoencoder,
    "wavenet": WaveNet,
    "wavenet_mu_law": SampleWaveNet,
}

BackboneConfig = Annotated[
    ResNetConfig | ResNetIRConfig | MobileFaceNetConfig | MobileNetV2Config | EfficientNetConfig | CPResNetConfig,
    pydantic.Field(discriminator="name"),
]
ReconstructorConfig = Annotated[
    AutoencoderConfig | WaveNetConfig | SampleWaveNetConfig, pydantic.Field(discriminator="name")
]


def build_backbone(config: BackboneConfig, channels: int, bins: int) -> nn.Module:
    """The network that a config names, for inputs of (channels, bins, any number of frames)."""
    return BACKBONES[config.name](config, channels, bins)


def build_reconstructor(config: ReconstructorConfig, channels: int, bins: int) -> nn.Module:
    """The network that a config names; its `forward(x)` is to be compared with its `target(x)`."""
    return RECONSTRUCTORS[config.name](config, channels, bins)
