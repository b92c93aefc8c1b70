"""Cosine logits on unit embeddings and unit class centres, one or several centres a class.

Legend: B batch, C classes, K sub-centres of a class, D embedding.
"""

from __future__ import annotations

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.losses.base import ClassificationLoss, LossSettings, Mixing


class CosineConfig(LossSettings, frozen=True):
    """What the margin losses share."""

    scale: pydantic.PositiveFloat = 30.0  # what cosines are multiplied by
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)  # share of the target that is spread over all classes
    sub_centres: pydantic.PositiveInt = 1  # K; the nearest centre of a class counts (Deng et al. 2020)
    mixing: Mixing = "arcmix"  # which margins the two targets of a mixture meet: see ClassificationLoss.mixed_logits
    validation_margin: bool = False  # the loss of held-out clips, by which checkpoints are chosen, has the margin, too


class CosineLoss(ClassificationLoss):
    """Scaled cosines; subclasses add their margin to the target's."""

    scale: float
    by_class = "centres"

    def __init__(self, config: CosineConfig, dim: int, classes: int) -> None:
        super().__init__()
        self.scale = config.scale
        self.label_smoothing = config.label_smoothing
        self.mixing = config.mixing
        self.validation_margin = config.validation_margin
        self.sub_centres = config.sub_centres
        self.centres = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes * config.sub_centres, dim)))

    def logits(self, embedding: Tensor) -> Tensor:
        """(B, D) → (B, C), scale times the cosine to the nearest centre of each class."""
        cosines = F.linear(F.normalize(embedding), F.normalize(self.centres))
        return self.scale * cosines.unflatten(1, (-1, self.sub_centres)).amax(2)

    def margin_logits(self, logits: Tensor, classes: Tensor) -> Tensor:
        """(B, C) with the margin on the class of each row."""
        target = classes[:, None]
        cosine = logits.gather(1, target) / self.scale
        return logits.scatter(1, target, self.scale * self.apply_margin(cosine))

    def apply_margin(self, cosine: Tensor) -> Tensor:
        """(B, 1) cosine of the target → what training sees in its place."""
        raise NotImplementedError
