"""Plain softmax cross-entropy with label smoothing. Legend: B batch, C classes, D embedding."""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor, nn

from asd.losses.base import ClassificationLoss


class SoftmaxConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Linear classifier with label smoothing."""

    name: Literal["softmax"] = "softmax"
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)


class Softmax(ClassificationLoss):
    """Cross-entropy of a linear layer on the embedding."""

    def __init__(self, config: SoftmaxConfig, dim: int, classes: int) -> None:
        super().__init__()
        self.label_smoothing = config.label_smoothing
        self.classifier = nn.Linear(dim, classes)

    def logits(self, embedding: Tensor) -> Tensor:
        return self.classifier(embedding)
