"""-log softmax of the clip's own class: the score of TASTgram-MFN (S2), with the margin of training or without."""

from __future__ import annotations

import math
from typing import Literal, Self

import pydantic
import torch
from torch import Tensor

from asd.errors import UserError
from asd.scorers.base import PerClassScorer
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.softmax import own_and_others


class NegLogSoftmaxConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """margin: ArcFace's, in radians, put on the own class as the published evaluator does; 0 leaves it off.

    scale: the loss's, and given with a margin only: own logit = scale · cosine.
    """

    name: Literal["neg_log_softmax"] = "neg_log_softmax"
    margin: float = pydantic.Field(0.0, ge=0, le=math.pi / 2)
    scale: pydantic.PositiveFloat | None = None

    @pydantic.model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.margin > 0) != (self.scale is not None):
            raise ValueError("margin and scale belong together: give both, as the loss has them, or neither")
        return self

    @property
    def label(self) -> str:
        return "neg_log_softmax" + (f"_m{self.margin:g}_s{self.scale:g}" if self.scale is not None else "")


class NegLogSoftmax(PerClassScorer[None]):
    """-log p(own class), from 0. Nothing is fitted; a class without training clips has no trained logit."""

    reads = "logits"
    needs_folds = False

    def __init__(self, config: NegLogSoftmaxConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> None:
        return None

    def score_class(self, model: None, test: EmbeddingTable) -> Tensor:
        own, others = own_and_others(test.logits, test.class_index)
        if self.config.scale is not None:
            own = with_arcface_margin(own, self.config.scale, self.config.margin)
        # log(1 + e^gap): a probability next to 1 keeps its order, which -log(p) loses
        return torch.logaddexp(others - own, torch.zeros_like(own))


def with_arcface_margin(own: Tensor, scale: float, margin: float) -> Tensor:
    """s·cos(θ + m) of own logits s·cos θ (N,), the line s·(c - m·sin(π - m)) beyond θ = π - m: `asd.losses.arcface`."""
    cosine = own / scale
    if not torch.compiler.is_exporting() and (cosine.abs() > 1.001).any():
        raise UserError(
            f"neg_log_softmax: a logit of {own[cosine.abs().argmax()]:.1f} is no cosine at scale {scale:g}: "
            "give the scale of the loss, or no margin where the loss has no cosines"
        )
    cosine = cosine.clamp(-1.0, 1.0)
    shifted = cosine * math.cos(margin) - (1.0 - cosine.square()).sqrt() * math.sin(margin)
    beyond = cosine - margin * math.sin(math.pi - margin)
    return scale * torch.where(cosine > math.cos(math.pi - margin), shifted, beyond)
