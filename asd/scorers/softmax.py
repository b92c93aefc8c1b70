"""1 - softmax probability of the clip's own class: the score of the DCASE 2020 classifiers (S1)."""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor

from asd.scorers.base import PerClassScorer
from asd.scorers.embeddings import EmbeddingTable


class SoftmaxConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """No settings: the network's own logits, without margin."""

    name: Literal["softmax"] = "softmax"

    @property
    def label(self) -> str:
        return "softmax"


class Softmax(PerClassScorer[None]):
    """1 - p(own class). Nothing is fitted; a class without training clips has no trained logit and is refused."""

    reads = "logits"
    needs_folds = False

    def __init__(self, config: SoftmaxConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> None:
        return None

    def score_class(self, model: None, test: EmbeddingTable) -> Tensor:
        return one_minus_probability(test.logits, test.class_index)


def one_minus_probability(logits: Tensor, class_index: Tensor) -> Tensor:
    """1 - softmax(logits)[own class], (N,) float64, from logits (N, C) and class_index (N,).

    Computed as sigmoid(logsumexp of the others - own). Subtracting p from 1, also through -expm1(log_softmax), gives
    exactly 0 for every clip whose other classes sum to less than 1e-16 of its own, which at scale 30 is common.
    """
    own, others = own_and_others(logits, class_index)
    return torch.sigmoid(others - own)


def own_and_others(logits: Tensor, class_index: Tensor) -> tuple[Tensor, Tensor]:
    """Logit of the own class and logsumexp of all others, (N,) float64 each; -inf where there is no other class."""
    logits, own = logits.double(), class_index.unsqueeze(1)
    return logits.gather(1, own).squeeze(1), logits.scatter(1, own, -torch.inf).logsumexp(dim=1)
