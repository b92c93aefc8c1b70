"""Mean distance to the K nearest normal training clips of the same class, in the embedding."""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor

from asd.scorers.bank import BankConfig, in_bank
from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.distance import Metric, Rows, mean_of_finite, neighbours, rows_of
from asd.scorers.embeddings import EmbeddingTable


class KnnConfig(EmbeddingScorerConfig, BankConfig, frozen=True):
    """k: neighbours. metric: 1 - cosine, or Euclidean distance of the embeddings as they are."""

    name: Literal["knn"] = "knn"
    k: pydantic.PositiveInt = 1
    metric: Metric = "cosine"

    @property
    def label(self) -> str:
        metric = "" if self.metric == "cosine" else f"_{self.metric}"
        return f"knn{metric}" + (f"_k{self.k}" if self.k > 1 else "")


class Knn(PerClassScorer[EmbeddingTable]):
    """Keeps the training rows of each class (see BankConfig). A class with fewer than k clips uses all it has."""

    needs_folds = False

    def __init__(self, config: KnnConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> EmbeddingTable:
        return in_bank(train, self.config, train.embedding, self.config.metric, self.config.k)

    def score_class(self, model: EmbeddingTable, test: EmbeddingTable) -> Tensor:
        # Float64 one class at a time: a bank of 36,000 x 2048 would take 600 MB.
        query, bank = (rows_of(clips, self.config.metric) for clips in (test, model))
        return nearest_distance(query, bank, self.config.k, self.config.metric)


def nearest_distance(query: Rows, bank: Rows, k: int, metric: Metric, density: Tensor | None = None) -> Tensor:
    """Mean distance (N,) of queries to their k nearest rows of the bank, or to all of other clips where they are fewer.
    nan where there are none. density (n,): by which the distance to each row is divided before."""
    relative = None if density is None else lambda block, part: block.div_(density[part])
    return mean_of_finite(neighbours(query, bank, k, metric, relative)[0])
