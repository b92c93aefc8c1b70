"""Signals of one clip, cyclic in time so that every filter is a product of spectra.

T samples of the clip, K = T // 2 + 1 bins of its spectrum, P anchors or points.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

SAMPLE_RATE = 16_000
ANCHORS_HZ = np.geomspace(62.5, 8000.0, 8)  # where a smooth spectrum is given, one per octave

Signal = NDArray[np.float32]
Spectrum = NDArray[np.complex64]
Values = NDArray[np.float64]


@lru_cache(maxsize=4)
def frequencies(samples: int) -> Signal:
    """(K,) frequencies of the bins in Hz."""
    return np.fft.rfftfreq(samples, 1 / SAMPLE_RATE).astype(np.float32)


@lru_cache(maxsize=4)
def _octaves(samples: int) -> Values:
    """(K,) position of each bin between the anchors, in octaves above the first."""
    return np.log2(np.maximum(frequencies(samples), 1.0) / ANCHORS_HZ[0])


def amplitude(level_db: Values | float) -> Values:
    """The amplitude ratio of a level in dB."""
    return 10.0 ** (np.asarray(level_db, dtype=np.float64) / 20)


def unit_power(shape: Signal) -> Signal:
    """(K,) magnitudes scaled so that white noise of variance 1 keeps variance 1 behind them."""
    return (shape / np.sqrt(np.mean(np.square(shape)) + 1e-20)).astype(np.float32)


def smooth_shape(anchors_db: Values, samples: int) -> Signal:
    """(K,) magnitudes through levels in dB at ANCHORS_HZ, straight lines over log frequency, unit power."""
    level_db = np.interp(_octaves(samples), np.arange(len(anchors_db)), anchors_db)
    return unit_power(np.exp(level_db.astype(np.float32) * np.float32(np.log(10) / 20)))


def band_shape(centre_hz: float, octaves: float, samples: int) -> Signal:
    """(K,) magnitudes of a bell over log frequency: centre in Hz, width (one sigma) in octaves, unit power."""
    distance = (_octaves(samples) - np.log2(centre_hz / ANCHORS_HZ[0])) / octaves
    return unit_power(np.exp(-0.25 * np.square(distance)).astype(np.float32))


def noise_spectrum(random: np.random.Generator, samples: int) -> Spectrum:
    """(K,) spectrum of white Gaussian noise of variance 1."""
    bins = samples // 2 + 1
    noise = random.standard_normal(2 * bins, dtype=np.float32).view(np.complex64)
    return noise * np.float32(np.sqrt(samples / 2))


def to_time(spectrum: Spectrum, samples: int) -> Signal:
    """(T,) the signal of a spectrum."""
    return fft.irfft(spectrum, samples)


def to_spectrum(signal: Signal) -> Spectrum:
    """(K,) the spectrum of a signal."""
    return fft.rfft(signal)


def impulses(times_s: Values, heights: Values, samples: int) -> Signal:
    """(T,) impulses (P,) at times in seconds, rounded to samples, wrapped into the clip."""
    at = np.round(times_s * SAMPLE_RATE).astype(np.int64) % samples
    return np.bincount(at, weights=heights, minlength=samples).astype(np.float32)


def resonances(hz: Values, quality: Values, gains: Values, samples: int) -> Spectrum:
    """(K,) response of decaying modes (P,) with unit energy: white noise of variance 1 keeps variance 1."""
    f = frequencies(samples)
    response = np.zeros(len(f), dtype=np.complex64)
    for mode_hz, mode_quality, gain in zip(hz, quality, gains, strict=True):
        ratio = f * np.float32(1 / mode_hz)
        width = np.float32(1 / mode_quality)
        response += np.float32(gain) * (1j * width * ratio) / (1 - ratio * ratio + 1j * width * ratio)
    return response / np.float32(np.sqrt(np.mean(np.abs(response) ** 2) + 1e-20))
