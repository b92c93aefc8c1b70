"""What a usual score is: the scale that scores of several scorers, or of several banks, have in common.

Legend: K scorers, n training rows of a class.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ENOUGH = 5  # recordings: scores of fewer have no spread to speak of; two are each other's neighbours at one distance


class Scale(NamedTuple):
    """Of a class's training clips as each member scores them, (K,) float64 each."""

    centre: Tensor
    spread: Tensor


def scale_of(scores: Tensor, recordings: int) -> Scale:
    """Mean and standard deviation of left-out scores (K, n) of a class of so many recordings."""
    if recordings == 1:  # there was nothing to score it by
        return Scale(torch.zeros(len(scores), dtype=torch.float64), torch.ones(len(scores), dtype=torch.float64))
    centre = scores.mean(dim=1)
    spread = scores.std(dim=1) if recordings >= ENOUGH else centre.abs()
    return Scale(centre, torch.where(spread > 1e-6 * centre.abs(), spread, 1.0))
