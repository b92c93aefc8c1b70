"""What the classification losses share. Legend: B batch, C classes, D embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Mixing = Literal["arcmix", "noisy_arcmix", "guided"]
MapNorm = Callable[[Literal["batch", "sync", "group"], int], nn.Module]  # (kind, channels) → a layer for maps


class LossSettings(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Base of the config classes; `name` chooses among them."""

    @property
    def takes_maps(self) -> bool:
        """Whether its loss learns from the maps of a backbone, not from embeddings."""
        return False


class ClassificationLoss(nn.Module):
    """Class centres and the loss on them, per clip and in float32.

    A loss gives `logits` (what scorers and validation see) and `margin_logits` (what training sees for one target).
    """

    label_smoothing: float
    scale: float | None = None  # logits are this times the cosine to the class centre; None: they are no cosines
    mixing: Mixing = "arcmix"  # which margins the two targets of a mixture meet
    validation_margin = False  # whether the loss of held-out clips has the margin, too
    by_class = "classifier"  # how the names of those tensors begin that have a row, or several, for each class
    takes_maps = (
        False  # whether `logits` learns from maps (B, D, m, f), and takes embeddings (B, D) in evaluation alone
    )

    def logits(self, embedding: Tensor) -> Tensor:
        """(B, D) → (B, C) without any margin."""
        raise NotImplementedError

    def margin_logits(self, logits: Tensor, classes: Tensor) -> Tensor:
        """(B, C) logits made harder for the target class of each row; none by default."""
        return logits

    def forward(self, embedding: Tensor, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
        """weight·L(first) + (1 − weight)·L(second) per clip, (B,); weight 1 is the plain loss."""
        with torch.autocast(embedding.device.type, enabled=False):
            return self.of_logits(self.logits(embedding.float()), first, second, weight)

    def of_logits(self, logits: Tensor, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
        """The same from logits (B, C), float32."""
        with torch.autocast(logits.device.type, enabled=False):
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

    def held_out(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Loss of held-out clips, (B,): no mixing, no smoothing, and a margin only where validation_margin says so."""
        seen = self.margin_logits(logits, classes) if self.validation_margin else logits
        return F.cross_entropy(seen, classes, reduction="none")

    def single(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy of logits (B, C) against one class a row, (B,)."""
        return F.cross_entropy(logits, classes, reduction="none", label_smoothing=self.label_smoothing)
