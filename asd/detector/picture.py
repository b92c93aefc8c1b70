"""A small log-mel picture of a recording, to be kept in a detector and drawn. Legend: T samples, M bands, W columns."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from asd.frontends.log_mel import LogMel, LogMelConfig

BANDS, COLUMNS = 64, 128
WINDOW_S = 0.064  # of a short-time spectrum, at least
LEVELS = 255


def picture_of(samples: np.ndarray, sample_rate: int) -> tuple[Tensor, tuple[float, float]]:
    """(M, W) uint8 of samples (T,) int16, lowest band first, and the decibels that 0 and 255 stand for.

    A column is the mean over a W-th of the time.
    """
    waveform = torch.from_numpy(samples.astype(np.float32) / 32768)
    decibels = adaptive_avg_pool2d(_log_mel(sample_rate)(waveform[None])[0], (BANDS, COLUMNS))[0]
    low, high = float(decibels.min()), float(decibels.max())
    unit = (decibels - low) / max(high - low, 1e-6)
    return (unit * LEVELS).round().to(torch.uint8), (low, high)


def in_decibels(picture: Tensor, low: float, high: float) -> Tensor:
    """(M, W) float32: what a picture shows."""
    return low + picture.float() / LEVELS * (high - low)


def band_edges(sample_rate: int) -> np.ndarray:
    """(M + 2,) Hz: band m rises from edge m to m + 1 and falls to m + 2."""
    return _hertz(np.linspace(0.0, _mel(sample_rate / 2), BANDS + 2))


def _mel(hertz: float) -> float:
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


@lru_cache(maxsize=4)
def _log_mel(sample_rate: int) -> LogMel:
    """With windows so long that also the lowest band, the narrowest, holds a bin."""
    least = max(WINDOW_S * sample_rate, 1.01 * sample_rate / band_edges(sample_rate)[2], 2 * BANDS)
    n_fft = 2 ** math.ceil(math.log2(least))
    return LogMel(LogMelConfig(n_mels=BANDS, n_fft=n_fft, hop=n_fft // 4), sample_rate)
