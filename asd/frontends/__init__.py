"""Waveform → network input, on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pydantic
import torch

from asd.frontends.base import Frontend, Mixing
from asd.frontends.log_mel import LogMel, LogMelConfig
from asd.frontends.stft import STFT, STFTConfig
from asd.frontends.tast import TAST, TASTConfig
from asd.frontends.waveform import Waveform, WaveformConfig
from asd.frontends.windows import Windows, WindowsConfig

__all__ = [
    "FRONTENDS",
    "Frontend",
    "FrontendConfig",
    "LogMelConfig",
    "Mixing",
    "STFTConfig",
    "TASTConfig",
    "WaveformConfig",
    "Windows",
    "WindowsConfig",
    "build_frontend",
]

FRONTENDS: dict[str, Callable[[Any, int], Frontend]] = {
    "log_mel": LogMel,
    "stft": STFT,
    "tast": TAST,
    "waveform": Waveform,
}

FrontendConfig = Annotated[
    LogMelConfig | STFTConfig | TASTConfig | WaveformConfig, pydantic.Field(discriminator="name")
]


def build_frontend(config: FrontendConfig, sample_rate: int) -> Frontend:
    """The frontend that a config names."""
    with torch.device("cpu"):  # filter banks are computed at once, also where the rest is a sketch (device meta)
        return FRONTENDS[config.name](config, sample_rate)
