"""The three channels of TASTgram-MFN (S2): Tgram, log-mel, TAgram (Choi & Choi 2024, arXiv 2310.06364).

Legend: B batch, T samples, M mel bins, F frames.
"""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor, nn

from asd.frontends.base import Frontend, FrontendSettings, Mixing
from asd.frontends.log_mel import LogMel, LogMelConfig

KERNEL = 1024
LEAK = 0.2


class TASTConfig(FrontendSettings, frozen=True):
    """Log-mel settings, and how the learned Tgram is normalised."""

    name: Literal["tast"] = "tast"
    mel: LogMelConfig = LogMelConfig(n_fft=2048, hop=512, n_mels=128, mel_scale="slaney", area_norm=True)
    norm_over: Literal["time", "channels"] = "channels"  # time: as published, for clips of exactly `frames` frames
    frames: pydantic.PositiveInt = 313  # of 10 s

    @pydantic.model_validator(mode="after")
    def _hears_every_sample(self) -> TASTConfig:
        if self.mel.hop > KERNEL:
            raise ValueError(f"mel.hop={self.mel.hop} must be at most {KERNEL}, the length of a learned filter")
        if not self.mel.center:
            raise ValueError("mel.center=false gives fewer frames than the learned filters: leave it true")
        return self

    def frames_of(self, samples: int) -> int:
        """F of a clip of T samples."""
        return self.mel.frames_of(samples)

    def samples_for(self, frames: int) -> int:
        """The least T that gives so many frames."""
        return self.mel.samples_for(frames)

    def fixed_frames(self) -> int | None:
        return self.frames if self.norm_over == "time" else None


class TAST(Frontend):
    """(B, T) waveform → (B, 3, M, F)."""

    channels = 3
    mel_channel = 1  # which channel is the plain log-mel

    def __init__(self, config: TASTConfig, sample_rate: int) -> None:
        super().__init__()
        self.mel = LogMel(config.mel, sample_rate)
        self.bins = config.mel.n_mels
        self.tgram = Tgram(config)

    def forward(self, waveform: Tensor, mix: Mixing | None = None) -> Tensor:
        """Tgram, log-mel and TAgram; mix combines waveforms for the first, spectrograms for the others."""
        spectrogram = self.mel(waveform, mix)
        learned = self.tgram(waveform if mix is None else mix(waveform)).unsqueeze(1)
        return torch.cat([learned.float(), spectrogram, temporal_attention(spectrogram)], 1)


class Tgram(nn.Module):
    """A learned filter bank with the log-mel's hop, then three rounds of normalisation, leaky ReLU, convolution."""

    def __init__(self, config: TASTConfig) -> None:
        super().__init__()
        bins, over_time = config.mel.n_mels, config.norm_over == "time"
        self.filters = nn.Conv1d(1, bins, KERNEL, config.mel.hop, KERNEL // 2, bias=False)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.LayerNorm(config.frames) if over_time else ChannelNorm(bins),
                    nn.LeakyReLU(LEAK),
                    nn.Conv1d(bins, bins, 3, 1, 1, bias=False),
                )
                for _ in range(3)
            )
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) → (B, M, F)."""
        return self.layers(self.filters(waveform.unsqueeze(1)))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, channels, F): for clips of any length."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


def temporal_attention(spectrogram: Tensor) -> Tensor:
    """S (B, 1, M, F) times sigmoid(max over M + mean over M) of each frame; no parameters."""
    energy = spectrogram.amax(2, keepdim=True) + spectrogram.mean(2, keepdim=True)
    return spectrogram * energy.sigmoid()
