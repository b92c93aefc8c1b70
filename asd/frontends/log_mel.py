"""Log-mel spectrograms on the device. Legend: B batch, T samples, M mel bins, F frames."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import pydantic
import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from asd.errors import UserError

Mixing = Callable[[Tensor], Tensor]


class LogMelConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Short-time spectra, mel bands, decibels."""

    name: Literal["log_mel"] = "log_mel"
    n_fft: int = pydantic.Field(1024, ge=64, le=65_536)
    hop: pydantic.PositiveInt = 512
    n_mels: pydantic.PositiveInt = 128
    f_min: pydantic.NonNegativeFloat = 0.0
    f_max: pydantic.PositiveFloat | None = None  # None: half the sample rate
    mel_scale: Literal["htk", "slaney"] = "htk"
    area_norm: bool = False  # Slaney's: bands of equal area
    eps: pydantic.PositiveFloat = 1e-10  # added to the power before the logarithm
    level: Literal["raw", "rms"] = "raw"  # rms: every clip is scaled to the same loudness first

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> LogMelConfig:
        least = -(-self.n_fft // MOST_OVERLAP)
        if not least <= self.hop <= self.n_fft:
            raise ValueError(f"hop={self.hop} must lie between {least} (n_fft/{MOST_OVERLAP}) and {self.n_fft} (n_fft)")
        if self.n_mels > self.n_fft // 2 + 1:
            raise ValueError(f"n_mels={self.n_mels} is more than the {self.n_fft // 2 + 1} bins of n_fft={self.n_fft}")
        if self.f_max is not None and self.f_min >= self.f_max:
            raise ValueError(f"f_min={self.f_min:g} must be below f_max={self.f_max:g}")
        return self


RMS_TARGET = 0.1
MOST_OVERLAP = 64  # frames that see one sample


class LogMel(nn.Module):
    """10·log10(mel power + eps), with zeros beyond the ends of the clip, always in float32.

    An FFT in bfloat16 errs by up to 0.4 dB, so autocast is switched off here.
    """

    channels = 1
    mel_channel = 0  # which channel is the plain log-mel
    window: Tensor
    bank: Tensor

    def __init__(self, config: LogMelConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        self.bins = config.n_mels
        bank = _mel_bands(config, sample_rate)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("bank", bank.T.contiguous(), persistent=False)

    def forward(self, waveform: Tensor, mix: Mixing | None = None) -> Tensor:
        """(B, T) float32 in [-1, 1) → (B, 1, M, F) in dB, F = 1 + T // hop; mix combines the spectrograms of clips."""
        spectrogram = self.spectrogram(waveform)
        return spectrogram if mix is None else mix(spectrogram)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """(B, T) → (B, 1, M, F)."""
        with torch.autocast(waveform.device.type, enabled=False):
            if self.config.level == "rms":
                waveform = waveform * (RMS_TARGET / waveform.square().mean(1, keepdim=True).sqrt().clamp(min=1e-8))
            spectrum = torch.stft(
                waveform,
                self.config.n_fft,
                self.config.hop,
                window=self.window,
                center=True,
                pad_mode="constant",
                return_complex=True,
            )
            power = torch.view_as_real(spectrum).square().sum(-1)
            return (10.0 * torch.log10(self.bank @ power + self.config.eps)).unsqueeze(1)


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
