"""The waveform as it is, for networks that make several spectra of it themselves. Legend: B batch, T samples, M mel
bins."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from asd.frontends.base import Frontend, FrontendSettings, Mixing
from asd.frontends.log_mel import LogMel, LogMelConfig


class WaveformConfig(FrontendSettings, frozen=True):
    """A frame is a sample; the log-mel is for the untrained baselines alone."""

    gives_waveform: ClassVar[bool] = True

    name: Literal["waveform"] = "waveform"
    mel: LogMelConfig = LogMelConfig(n_fft=1024)  # what the untrained baselines compare

    def frames_of(self, samples: int) -> int:
        """F of a clip of T samples: T."""
        return samples

    def samples_for(self, frames: int) -> int:
        """The least T that gives so many frames: as many."""
        return frames


class Waveform(Frontend):
    """(B, T) → (B, 1, 1, T), float32."""

    channels = bins = 1

    def __init__(self, config: WaveformConfig, sample_rate: int) -> None:
        super().__init__()
        self.mel = LogMel(config.mel, sample_rate)

    def forward(self, waveform: Tensor, mix: Mixing | None = None) -> Tensor:
        """(B, T) → (B, 1, 1, T); mix combines waveforms."""
        return (waveform if mix is None else mix(waveform))[:, None, None]

    @property
    def plain_bins(self) -> int:
        """M of the log-mel."""
        return self.mel.bins

    def plain(self, given: Tensor) -> Tensor:
        """(B, 1, 1, T) → (B, M, F), the log-mel in dB."""
        return self.mel.plain(self.mel(given[:, 0, 0]))
