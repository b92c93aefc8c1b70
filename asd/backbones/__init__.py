"""Network input (B, channels, bins, frames), or (B, 1, 1, samples) → embedding (B, D), or → its own reconstruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pydantic

from asd.backbones.autoencoder import Autoencoder, AutoencoderConfig
from asd.backbones.base import Backbone, Borrowed, Reconstructor
from asd.backbones.cp_resnet import CPResNet, CPResNetConfig
from asd.backbones.efficientnet import EfficientNet, EfficientNetConfig
from asd.backbones.encoders.beats import Beats, BeatsConfig
from asd.backbones.encoders.clap import Clap, ClapConfig
from asd.backbones.encoders.crepe import Crepe, CrepeConfig
from asd.backbones.encoders.eat import Eat, EatConfig
from asd.backbones.encoders.efficientat import EfficientAt, EfficientAtConfig
from asd.backbones.encoders.hub import Hub, HubConfig
from asd.backbones.mobilefacenet import MobileFaceNet, MobileFaceNetConfig
from asd.backbones.mobilenet_v2 import MobileNetV2, MobileNetV2Config
from asd.backbones.multi_branch import MultiBranch, MultiBranchConfig
from asd.backbones.resnet import ResNet, ResNetConfig
from asd.backbones.resnet_ir import ResNetIR, ResNetIRConfig
from asd.backbones.statistics import Statistics, StatisticsConfig
from asd.backbones.wavenet import SampleWaveNet, SampleWaveNetConfig, WaveNet, WaveNetConfig

BACKBONES: dict[str, Callable[[Any, int, int], Backbone]] = {
    "resnet50": ResNet,
    "resnet50_ir": ResNetIR,
    "mobilefacenet": MobileFaceNet,
    "mobilenet_v2": MobileNetV2,
    "efficientnet_b0": EfficientNet,
    "cp_resnet": CPResNet,
    "statistics": Statistics,
    "multi_branch": MultiBranch,
    "crepe": Crepe,
    "beats": Beats,
    "eat": Eat,
    "efficientat": EfficientAt,
    "clap": Clap,
    "transformers": Hub,
}
RECONSTRUCTORS: dict[str, Callable[[Any, int, int], Reconstructor]] = {
    "autoencoder": Autoencoder,
    "wavenet": WaveNet,
    "wavenet_mu_law": SampleWaveNet,
}

BackboneConfig = Annotated[
    ResNetConfig
    | ResNetIRConfig
    | MobileFaceNetConfig
    | MobileNetV2Config
    | EfficientNetConfig
    | CPResNetConfig
    | StatisticsConfig
    | MultiBranchConfig
    | CrepeConfig
    | BeatsConfig
    | EatConfig
    | EfficientAtConfig
    | ClapConfig
    | HubConfig,
    pydantic.Field(discriminator="name"),
]
ReconstructorConfig = Annotated[
    AutoencoderConfig | WaveNetConfig | SampleWaveNetConfig, pydantic.Field(discriminator="name")
]


def build_backbone(config: BackboneConfig, channels: int, bins: int, borrowed: Borrowed | None = None) -> Backbone:
    """The network that a config names, for inputs of (channels, bins, any number of frames).

    borrowed: the weights of a pre-trained encoder. UserError where they do not fit it.
    """
    backbone = BACKBONES[config.name](config, channels, bins)
    if borrowed is not None:
        backbone.borrow(borrowed)
    return backbone


def build_reconstructor(config: ReconstructorConfig, channels: int, bins: int) -> Reconstructor:
    """The network that a config names, for spectrograms or windows of (channels, bins), or waveforms."""
    return RECONSTRUCTORS[config.name](config, channels, bins)
