"""What the tests of the networks share: narrow versions of all, counts, inputs."""

from __future__ import annotations

import torch
from torch import nn

from asd.backbones import (
    AutoencoderConfig,
    CPResNetConfig,
    EfficientNetConfig,
    MobileFaceNetConfig,
    MobileNetV2Config,
    ResNetConfig,
    ResNetIRConfig,
    SampleWaveNetConfig,
    WaveNetConfig,
)

SMALL_MOBILE = MobileFaceNetConfig(bottlenecks=((2, 32, 2, 2), (2, 32, 1, 2)), width=0.5, embedding=24)
SMALL_IR = ResNetIRConfig(depths=(1, 2, 1, 1), width=8, embedding=24, dropout=0.0)
SMALL_PLAIN = ResNetConfig(depths=(1, 2, 1, 1), width=8)  # embeds into 32 times its width
SMALL_V2 = MobileNetV2Config(bottlenecks=((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 1, 2)), last=40)
SMALL_EFFICIENT = EfficientNetConfig(
    bottlenecks=((1, 16, 1, 1, 3), (6, 24, 2, 2, 5), (6, 40, 1, 2, 3)), width=0.25, drop_connect=0.0, embedding=24
)
SMALL_CP = CPResNetConfig(width=8)
WIDTHS = {  # config → values of its embedding
    SMALL_MOBILE: 24,
    SMALL_IR: 24,
    SMALL_PLAIN: 256,
    SMALL_PLAIN.model_copy(update={"embedding": 24}): 24,
    SMALL_V2: 40,
    SMALL_EFFICIENT: 24,
    SMALL_EFFICIENT.model_copy(update={"embedding": None}): 320,
    SMALL_CP: 32,
    SMALL_CP.model_copy(update={"input_norm": "none", "rho_f": 3, "rho_t": 5}): 32,
}
SMALL = list(WIDTHS)

SMALL_AUTOENCODER = AutoencoderConfig(hidden=(24, 32), bottleneck=16)
SMALL_WAVENET = WaveNetConfig(channels=8, skip=12, dilations=(1, 2, 4), stacks=2)
SMALL_SAMPLES = SampleWaveNetConfig(channels=8, skip=12, dilations=(1, 2, 4), stacks=2)


def with_norm(config, norm: str):
    return config.model_copy(update={"norm": norm})


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def running(module: nn.Module) -> int:
    """Values of the running statistics, which Keras counts among the parameters."""
    return sum(b.numel() for name, b in module.named_buffers() if "running" in name)


def decibels(*shape: int, seed: int = 0) -> torch.Tensor:
    return 20 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) - 40


def without_gradient(module: nn.Module) -> list[str]:
    """Parameters for whose gradient DDP would wait for ever."""
    return [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
