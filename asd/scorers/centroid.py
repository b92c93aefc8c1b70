"""1 - cosine similarity to the centre of the class's normal training embeddings."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.embeddings import EmbeddingTable


class CentroidConfig(EmbeddingScorerConfig, frozen=True):
    """No settings."""

    name: Literal["centroid"] = "centroid"

    @property
    def label(self) -> str:
        return "centroid"


class Centroid(PerClassScorer[Tensor]):
    """One centre (D,) per class: the mean of its unit embeddings. Score in [0, 2]."""

    def __init__(self, config: CentroidConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> Tensor:
        return normalize(normalize(train.embedding.double(), dim=1).mean(dim=0), dim=0)

    def score_class(self, model: Tensor, test: EmbeddingTable) -> Tensor:
        return 1.0 - normalize(test.embedding.double(), dim=1) @ model
