"""Sound in the place of a recording of which a picture is left. Legend: M bands, W columns, T samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asd.detector.explain import Equaliser
from asd.detector.picture import BANDS, in_decibels, picture_of

LOUDNESS = 1000.0  # standard deviation of the noise that is shaped


def imitation(picture: Tensor, sample_rate: int, samples: int, random: np.random.Generator) -> np.ndarray:
    """(T,) int16: noise with the levels over time of a picture (M, W) in decibels, which may be of another length.

    It has neither tones nor clicks that are finer than the picture, so it is near to normal, not normal.
    """
    noise = np.rint(random.normal(0, LOUDNESS, samples))
    flat, (low, high) = picture_of(noise.astype(np.int16), sample_rate)
    gains = picture - in_decibels(flat, low, high)
    louder = float(gains.mean())
    shaped = Equaliser(noise * 10 ** (louder / 20), sample_rate, gains - louder)
    return shaped(torch.ones(1, BANDS))[0]
