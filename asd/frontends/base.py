"""The interface of a frontend: settings, and a module. Legend: B batch, T samples, C channels, M bins, F frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import pydantic
from torch import Tensor, nn

Mixing = Callable[[Tensor], Tensor]  # rows (B, …) → mixtures of them


class FrontendSettings(pydantic.BaseModel, ABC, extra="forbid", frozen=True, allow_inf_nan=False):
    """Base of the config classes; `name` chooses among them."""

    gives_waveform: ClassVar[bool] = False  # for backbones that take it

    @abstractmethod
    def frames_of(self, samples: int) -> int:
        """F of a clip of T samples; below 1 where it is too short."""

    @abstractmethod
    def samples_for(self, frames: int) -> int:
        """The least T that gives so many frames."""

    def fixed_frames(self) -> int | None:
        """The number of frames that every clip must have; None: any."""
        return None


class Frontend(nn.Module):
    """(B, T) waveform → (B, C, M, F), in float32."""

    channels: int  # C
    bins: int  # M
    mel_channel: int = 0  # which channel is the plain spectrogram

    def forward(self, waveform: Tensor, mix: Mixing | None = None) -> Tensor:
        """mix: combines clips, of waveforms or of spectrograms as the frontend sees fit."""
        raise NotImplementedError

    @property
    def plain_bins(self) -> int:
        """M of the plain spectrogram."""
        return self.bins

    def bin_ranges(self) -> Tensor | None:
        """(M, 2) Hz: from where to where each bin hears, sidelobes of the window apart; None where not all that the
        network is given lies on an axis of frequency."""
        return None

    def plain(self, given: Tensor) -> Tensor:
        """(B, C, M, F), as `forward` gives it → (B, M, F), the plain spectrogram."""
        return given[:, self.mel_channel]

    def features(self, given: Tensor) -> Tensor:
        """(B, C, M, F), as `forward` gives it → (B, M), the time mean of the plain spectrogram: what the untrained
        baselines compare."""
        return self.plain(given).mean(-1)
