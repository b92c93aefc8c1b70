"""Spectrograms cut into windows of equal length (S4, S5, the baselines of S6).

Legend: B batch, P windows of a clip, C channels, M bins, F frames.
"""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor, nn

from asd.errors import UserError

MIN_DEVIATION = 1e-5  # what a window of silence is divided by


class WindowsConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """S4: frames 32, hop 32, normalise piece. S5: frames 64, hop 8, copies 3. Autoencoder: frames 5, hop 1."""

    frames: pydantic.PositiveInt  # frames of a window
    hop: pydantic.PositiveInt  # frames from the beginning of a window to that of the next
    normalise: Literal["none", "piece"] = "none"  # piece: each window gets zero mean and unit variance
    copies: pydantic.PositiveInt = 1  # of every channel, for networks that were made for colour images
    drawn: pydantic.PositiveInt | None = None  # so many of each training clip, others in each step; None: all of them

    def windows_of(self, frames: int) -> int:
        """P of a clip of F frames; a last window that is not full is dropped."""
        return max(0, 1 + (frames - self.frames) // self.hop)


class Windows(nn.Module):
    """(B, C, M, F) → (B, P, C·copies, M, frames), P = 1 + (F − frames) // hop."""

    def __init__(self, config: WindowsConfig, least_s: float, seed: int = 0) -> None:
        """least_s: the length in seconds that a clip needs for one window, for the message to the user."""
        super().__init__()
        self.config = config
        self.least_s = least_s
        self.seed = seed

    def places(self, frames: int, clips: Tensor, epoch: int, step: int) -> Tensor | None:
        """Which windows of clips (B,) of F frames a training step sees, (B, drawn); None: all of them."""
        of, count = self.config.windows_of(frames), self.config.drawn
        return None if count is None or count >= of else drawn_places(clips, of, count, self.seed, epoch, step)

    def forward(self, spectrogram: Tensor, places: Tensor | None = None) -> Tensor:
        """(B, C, M, F) → (B, P, C·copies, M, frames), all windows or those at places (B, P) alone.

        Raises UserError where a clip is shorter than a window.
        """
        size, frames = self.config.frames, spectrogram.shape[-1]
        if frames < size:
            raise UserError(
                f"a clip gives {frames} frames and a window has {size}: use clips and crops of at least "
                f"{self.least_s:.3f} s, or fewer windows.frames"
            )
        windows = spectrogram.unfold(-1, size, self.config.hop).permute(0, 3, 1, 2, 4)
        if places is not None:
            windows = windows[torch.arange(len(places), device=places.device)[:, None], places]
        if self.config.normalise == "piece":
            windows = standardised(windows)
        return windows.repeat(1, 1, self.config.copies, 1, 1)


def standardised(windows: Tensor) -> Tensor:
    """(B, P, C, M, frames) with zero mean and unit variance in each window; zeros where all values are equal."""
    dims = (2, 3, 4)
    deviation = windows.std(dims, correction=0, keepdim=True).clamp(min=MIN_DEVIATION)
    return (windows - windows.mean(dims, keepdim=True)) / deviation


def drawn_places(clips: Tensor, of: int, count: int, seed: int, epoch: int, step: int) -> Tensor:
    """(B,) clip indices → (B, count) different places from 0 to `of` − 1.

    A function of (seed, epoch, step, clip), whatever rows of which rank the clips are; nothing is read from the device.
    """
    place = torch.arange(of, device=clips.device)
    state = _scattered(_scattered(_scattered(clips * 0 + seed) + epoch) + step)
    return _scattered(_scattered(state + clips)[:, None] + place).argsort(1)[:, :count]


def _scattered(x: Tensor) -> Tensor:
    """int64 → int64, splitmix64 (Steele et al. 2014): what neighbouring numbers become has nothing in common."""
    x = x - 0x61C8864680B583EB
    x = (x ^ _shifted(x, 30)) * -0x40A7B892E31B1A47
    x = (x ^ _shifted(x, 27)) * -0x6B2FB644ECCEEE15
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """To the right, without the sign that `>>` keeps."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
