"""How far a reconstruction, or a prediction from the past, is off; a clip's errors in one number (S6).

Legend: B clips, P parts of a clip (stacked vectors, frames or samples), L levels of the μ-law.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SUMMARIES = ("mean", "median", "std")  # the columns of `summaries`


def squared_errors(reconstruction: Tensor, target: Tensor) -> Tensor:
    """(B, P, …) twice → (B, P) float32, the mean squared error of each part over its own axes."""
    return F.mse_loss(reconstruction.float(), target.float(), reduction="none").flatten(2).mean(2)


def summaries(errors: Tensor) -> Tensor:
    """(B, P) → (B, 3): mean, median (of an even number the mean of the middle two), standard deviation (divided by P).

    An error that is not finite shows in its clip's summaries.
    """
    errors = errors.float()
    median = (errors.median(1).values - (-errors).median(1).values) / 2  # torch's median is the lower of the two
    return torch.stack([errors.mean(1), median, errors.std(1, correction=0)], 1)


def sample_cross_entropy(logits: Tensor, levels: Tensor) -> Tensor:
    """(B, L, P) of predicted μ-law samples, (B, P) in 0 … L − 1 → errors (B, P) in nats, as WaveNet's (2016, 2.2)."""
    return F.cross_entropy(logits.float(), levels, reduction="none")
