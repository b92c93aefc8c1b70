"""Linear-frequency spectrograms (S4). Legend: B batch, T samples, M bins, F frames."""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor

from asd.frontends.base import Frontend, Mixing
from asd.frontends.spectrum import MAIN_LOBE, PowerSpectrum, SpectrumConfig


class STFTConfig(SpectrumConfig, frozen=True):
    """1024 bins every 512 samples by default. S4's 512x32 version ("reshaped", not said how): bins_together 2.

    S4 does not say either whether the magnitudes are compressed; decibels are our reading.
    """

    name: Literal["stft"] = "stft"
    n_fft: int = pydantic.Field(2046, ge=64, le=65_536)
    bins_together: pydantic.PositiveInt = 1  # neighbouring bins whose mean power is one bin
    scale: Literal["db", "magnitude"] = "db"  # decibels, or the magnitudes as they are
    eps: pydantic.PositiveFloat = 1e-10  # added to the power before the logarithm

    @pydantic.model_validator(mode="after")
    def _bins_divide(self) -> STFTConfig:
        bins = self.n_fft // 2 + 1
        if bins % self.bins_together:
            raise ValueError(
                f"bins_together={self.bins_together} does not divide the {bins} bins of n_fft={self.n_fft}"
            )
        return self


class STFT(Frontend):
    """10·log10(power + eps), or magnitudes; librosa's STFT but for the zeros beyond the ends."""

    channels = 1

    def __init__(self, config: STFTConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        self.bins = (config.n_fft // 2 + 1) // config.bins_together
        self.power = PowerSpectrum(config)
        self.bin_hz = sample_rate / config.n_fft

    def forward(self, waveform: Tensor, mix: Mixing | None = None) -> Tensor:
        """(B, T) float32 in [-1, 1) → (B, 1, M, F); mix combines the spectrograms of clips."""
        power = self.power(waveform).unsqueeze(1)
        power = power.unflatten(2, (self.bins, self.config.bins_together)).mean(3)
        spectrogram = 10.0 * torch.log10(power + self.config.eps) if self.config.scale == "db" else power.sqrt()
        return spectrogram if mix is None else mix(spectrogram)

    def bin_ranges(self) -> Tensor:
        """(M, 2) Hz."""
        first = torch.arange(self.bins, device=self.power.window.device) * self.config.bins_together
        last = first + self.config.bins_together - 1
        return torch.stack([first - MAIN_LOBE, last + MAIN_LOBE], 1) * self.bin_hz
