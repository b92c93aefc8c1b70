"""What the classification losses share. Legend: B batch, C classes, D embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClassificationLoss(nn.Module):
    """Class centres and the loss on them, per clip and in float32.

    A loss gives `logits` (what scorers and validation see) and `margin_logits` (what training sees for one target).
    """

    label_smoothing: float
    scale: float | None = None  # logits are this times the cosine to the class centre; None: they are no cosines
    noisy = False  # whether the second target of a mixture is met by the margin of the first (Noisy-ArcMix)

    def logits(self, embedding: Tensor) -> Tensor:
        """(B, D) → (B, C) without any margin."""
        raise NotImplementedError

    def margin_logits(self, logits: Tensor, classes: Tensor) -> Tensor:
        """(B, C) logits made harder for the target class of each row; none by default."""
        return logits

    def forward(self, embedding: Tensor, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
        """weight·L(first) + (1 − weight)·L(second) per clip, (B,); weight 1 is the plain loss."""
        with torch.autocast(embedding.device.type, enabled=False):
            logits = self.logits(embedding.float())
            of_first = self.margin_logits(logits, first)
            of_second = of_first if self.noisy else self.margin_logits(logits, second)
            return weight * self.single(of_first, first) + (1 - weight) * self.single(of_second, second)

    def single(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy of logits (B, C) against one class a row, (B,)."""
        return F.cross_entropy(logits, classes, reduction="none", label_smoothing=self.label_smoothing)
