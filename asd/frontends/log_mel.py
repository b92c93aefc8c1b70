"""Log-mel spectrograms on the device. Legend: B batch, T samples, M mel bins, F frames."""

from __future__ import annotations

import warnings
from typing import Literal

import pydantic
import torch
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from asd.errors import UserError
from asd.frontends.base import Frontend, Mixing
from asd.frontends.spectrum import MAIN_LOBE, PowerSpectrum, SpectrumConfig


class LogMelConfig(SpectrumConfig, frozen=True):
    """Short-time spectra, mel bands, decibels."""

    name: Literal["log_mel"] = "log_mel"
    n_mels: pydantic.PositiveInt = 128  # mel bands
    f_min: pydantic.NonNegativeFloat = 0.0  # Hz; lower edge of the lowest band
    f_max: pydantic.PositiveFloat | None = None  # None: half the sample rate
    mel_scale: Literal["htk", "slaney"] = "htk"  # formula of the mel scale
    area_norm: bool = False  # Slaney's: bands of equal area
    eps: pydantic.PositiveFloat = 1e-10  # added to the power before the logarithm

    @pydantic.model_validator(mode="after")
    def _bands_fit(self) -> LogMelConfig:
        if self.n_mels > self.n_fft // 2 + 1:
            raise ValueError(f"n_mels={self.n_mels} is more than the {self.n_fft // 2 + 1} bins of n_fft={self.n_fft}")
        if self.f_max is not None and self.f_min >= self.f_max:
            raise ValueError(f"f_min={self.f_min:g} must be below f_max={self.f_max:g}")
        return self


class LogMel(Frontend):
    """10·log10(mel power + eps), always in float32."""

    channels = 1
    bank: Tensor

    def __init__(self, config: LogMelConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        self.bins = config.n_mels
        self.power = PowerSpectrum(config)
        self.bin_hz = sample_rate / config.n_fft
        self.register_buffer("bank", _mel_bands(config, sample_rate).T.contiguous(), persistent=False)

    def forward(self, waveform: Tensor, mix: Mixing | None = None) -> Tensor:
        """(B, T) float32 in [-1, 1) → (B, 1, M, F) in dB; mix combines the spectrograms of clips.

        F = 1 + T // hop with center, 1 + (T − n_fft) // hop without.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            power = self.bank @ self.power(waveform)
            spectrogram = (10.0 * torch.log10(power + self.config.eps)).unsqueeze(1)
        return spectrogram if mix is None else mix(spectrogram)

    def bin_ranges(self) -> Tensor:
        """(M, 2) Hz."""
        heard = [weights.nonzero().flatten() for weights in self.bank]
        edges = torch.tensor([(float(bins[0]), float(bins[-1])) for bins in heard], device=self.bank.device)
        return (edges + edges.new_tensor([-MAIN_LOBE, MAIN_LOBE])) * self.bin_hz


def _mel_bands(config: LogMelConfig, sample_rate: int) -> Tensor:
    """(n_fft // 2 + 1, M) weights; UserError where the sample rate leaves bands without content."""
    highest = config.f_max or sample_rate / 2
    if highest > sample_rate / 2:
        raise UserError(f"frontend: f_max={highest:g} is above half the sample rate {sample_rate}")
    if config.f_min >= highest:
        raise UserError(f"frontend: f_min={config.f_min:g} is not below half the sample rate {sample_rate}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the empty bands, which are refused below
        bank: Tensor = melscale_fbanks(
            config.n_fft // 2 + 1,
            config.f_min,
            highest,
            config.n_mels,
            sample_rate,
            norm="slaney" if config.area_norm else None,
            mel_scale=config.mel_scale,
        )
    if empty := int((bank.amax(0) == 0).sum()):
        raise UserError(
            f"frontend: {empty} of n_mels={config.n_mels} bands hold no bin of n_fft={config.n_fft} "
            f"at {sample_rate} Hz: use fewer n_mels or a longer n_fft"
        )
    return bank
