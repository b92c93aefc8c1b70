"""log((1 - p) / p) of the clip's own class: the score of DCASE's MobileNetV2 baseline, averaged over windows (S6)."""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor

from asd.scorers.base import PerClassScorer
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.softmax import own_and_others


class LogOddsConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """No settings."""

    name: Literal["log_odds"] = "log_odds"

    @property
    def label(self) -> str:
        return "log_odds"


class LogOdds(PerClassScorer[None]):
    """Of any sign; 0 at a probability of one half; -inf where there is no other class. Nothing is fitted.

    As published in words. The official code has a bracket elsewhere, which makes it log(1 - p - log p) of a window.
    """

    reads = "logits"
    needs_folds = False

    def __init__(self, config: LogOddsConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> None:
        return None

    def score_class(self, model: None, test: EmbeddingTable) -> Tensor:
        own, others = own_and_others(test.logits, test.class_index)
        return others - own
