"""Waveform → power spectra, what every frontend begins with. Legend: B batch, T samples, K bins, F frames."""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.frontends.base import FrontendSettings
from asd.frontends.power import power_of

RMS_TARGET = 0.1
MAIN_LOBE = 2  # bins to each side of a tone that a Hann window spreads it over
MAX_OVERLAP = 64  # frames that see one sample


class SpectrumConfig(FrontendSettings, frozen=True):
    """Short-time spectra, and what is done to the waveform before."""

    n_fft: int = pydantic.Field(1024, ge=64, le=65_536)  # samples of a window
    hop: pydantic.PositiveInt = 512  # samples from the beginning of a frame to that of the next
    center: bool = True  # the clip goes on beyond its ends, so that the first frame lies on its first sample
    pad_mode: Literal["constant", "reflect"] = "constant"  # with center: by zeros; or mirrored, torchaudio's default
    zero_mean: bool = False  # the clip's mean is subtracted first
    level: Literal["raw", "rms"] = "raw"  # rms: every clip is scaled to the same loudness first

    @pydantic.model_validator(mode="after")
    def _hop_hears_every_sample(self) -> SpectrumConfig:
        least = -(-self.n_fft // MAX_OVERLAP)
        if not least <= self.hop <= self.n_fft:
            raise ValueError(f"hop={self.hop} must lie between {least} (n_fft/{MAX_OVERLAP}) and {self.n_fft} (n_fft)")
        return self

    @property
    def padding(self) -> int:
        """Samples of silence at both ends together."""
        return self.n_fft // 2 * 2 if self.center else 0

    def frames_of(self, samples: int) -> int:
        """F of a clip of T samples; below 1 where it is too short."""
        if samples < self.least_samples:
            return 0
        return 1 + (samples + self.padding - self.n_fft) // self.hop

    def samples_for(self, frames: int) -> int:
        """The least T that gives so many frames."""
        return max(self.least_samples, (frames - 1) * self.hop + self.n_fft - self.padding)

    @property
    def least_samples(self) -> int:
        """The least T that gives a frame: what is mirrored must be there."""
        if not self.center:
            return self.n_fft
        return self.n_fft // 2 + 1 if self.pad_mode == "reflect" else 1


class PowerSpectrum(nn.Module):
    """|STFT|² under a Hann window, always in float32: an FFT in bfloat16 errs by up to 0.4 dB."""

    window: Tensor

    def __init__(self, config: SpectrumConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) float32 → (B, K, F), K = n_fft // 2 + 1; UserError where a clip gives no frame."""
        config, samples = self.config, waveform.shape[1]
        if samples < config.least_samples:
            how = f"with pad_mode={config.pad_mode}" if config.center else "without center"
            raise UserError(
                f"a clip of {samples} samples gives no frame: {how} the frontend needs {config.least_samples} "
                f"(n_fft={config.n_fft})"
            )
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(
                self._levelled(waveform),
                config.n_fft,
                config.hop,
                window=self.window,
                center=config.center,
                pad_mode=config.pad_mode,
                return_complex=True,
            )
            return power_of(spectrum)

    def _levelled(self, waveform: Tensor) -> Tensor:
        if self.config.zero_mean:
            waveform = waveform - waveform.mean(1, keepdim=True)
        if self.config.level == "rms":
            waveform = waveform * (RMS_TARGET / waveform.square().mean(1, keepdim=True).sqrt().clamp(min=1e-8))
        return waveform
