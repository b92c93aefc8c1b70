"""What the classification losses share. Legend: B batch, C classes, D embedding."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Mixing = Literal["arcmix", "noisy_arcmix", "guided"]


class ClassificationLoss(nn.Module):
    """Class centres and the loss on them, per clip and in float32.

    A loss gives `logits` (what scorers and validation see) and `margin_logits` (what training sees for one target).
    """

    label_smoothing: float
    scale: float | None = None  # logits are this times the cosine to the class centre; None: they are no cosines
    mixing: Mixing = "arcmix"  # which margins the two targets of a mixture meet

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
            of_first, of_second = self.mixed_logits(logits, first, second, weight)
            return weight * self.single(of_first, first) + (1 - weight) * self.single(of_second, second)

    def mixed_logits(self, logits: Tensor, first: Tensor, second: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The (B, C) that the first and the second target of each mixture are compared with.

        arcmix: each its own margin. noisy_arcmix: both the margin of the first. guided: both margins at once, each in
        proportion to its share of the mixture (Choi & Choi, INTER-NOISE 2024).
        """
        of_first = self.margin_logits(logits, first)
        if self.mixing == "noisy_arcmix":
            return of_first, of_first
        of_second = self.margin_logits(logits, second)
        if self.mixing == "arcmix":
            return of_first, of_second
        share = weight[:, None]
        guided = logits + share * (of_first - logits) + (1 - share) * (of_second - logits)
        return guided, guided

    def single(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy of logits (B, C) against one class a row, (B,)."""
        return F.cross_entropy(logits, classes, reduction="none", label_smoothing=self.label_smoothing)
