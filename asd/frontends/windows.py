"""Spectrograms cut into windows of equal length (S4, S5, the baselines of S6).

Legend: B batch, P windows of a clip, C channels, M bins, F frames.
"""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor, nn

from asd.errors import UserError

LEAST_DEVIATION = 1e-5  # what a window of silence is divided by


class WindowsConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """S4: frames 32, hop 32, normalise piece. S5: frames 64, hop 8, copies 3. Autoencoder: frames 5, hop 1."""

    frames: pydantic.PositiveInt
    hop: pydantic.PositiveInt  # frames from the beginning of a window to that of the next
    normalise: Literal["none", "piece"] = "none"  # piece: each window gets zero mean and unit variance
    copies: pydantic.PositiveInt = 1  # of every channel, for networks that were made for colour images

    def windows_of(self, frames: int) -> int:
        """P of a clip of F frames; a last window that is not full is dropped."""
        return max(0, 1 + (frames - self.frames) // self.hop)


class Windows(nn.Module):
    """(B, C, M, F) → (B, P, C·copies, M, frames), P = 1 + (F − frames) // hop."""

    def __init__(self, config: WindowsConfig, least_s: float) -> None:
        """least_s: the length in seconds that a clip needs for one window, for the message to the user."""
        super().__init__()
        self.config = config
        self.least_s = least_s

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, C, M, F) → (B, P, C·copies, M, frames); UserError where a clip is shorter than a window."""
        size, frames = self.config.frames, spectrogram.shape[-1]
        if frames < size:
            raise UserError(
                f"a clip gives {frames} frames and a window has {size}: use clips and crops of at least "
                f"{self.least_s:.3f} s, or fewer windows.frames"
            )
        windows = spectrogram.unfold(-1, size, self.config.hop).permute(0, 3, 1, 2, 4)
        if self.config.normalise == "piece":
            windows = standardised(windows)
        return windows.repeat(1, 1, self.config.copies, 1, 1)


def standardised(windows: Tensor) -> Tensor:
    """(B, P, C, M, frames) with zero mean and unit variance in each window; zeros where all values are equal."""
    dims = (2, 3, 4)
    deviation = windows.std(dims, correction=0, keepdim=True).clamp(min=LEAST_DEVIATION)
    return (windows - windows.mean(dims, keepdim=True)) / deviation
