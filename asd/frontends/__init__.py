"""Waveform → network input, on the device."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic
import torch
from torch import nn

from asd.frontends.log_mel import LogMel, LogMelConfig, Mixing
from asd.frontends.stft import STFT, STFTConfig
from asd.frontends.tast import TAST, TASTConfig
from asd.frontends.windows import Windows, WindowsConfig

__all__ = [
    "FRONTENDS",
    "FrontendConfig",
    "LogMelConfig",
    "Mixing",
    "STFTConfig",
    "TASTConfig",
    "Windows",
    "WindowsConfig",
    "build_frontend",
]

FRONTENDS: dict[str, Any] = {"log_mel": LogMel, "stft": STFT, "tast": TAST}

FrontendConfig = Annotated[LogMelConfig | STFTConfig | TASTConfig, pydantic.Field(discriminator="name")]


def build_frontend(config: FrontendConfig, sample_rate: int) -> nn.Module:
    """The frontend that a config names; it has `channels` and `bins`."""
    with torch.device("cpu"):  # filter banks are computed at once, also where the rest is a sketch (device meta)
        frontend: nn.Module = FRONTENDS[config.name](config, sample_rate)
    return frontend
