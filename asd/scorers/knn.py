"""Mean distance to the K nearest normal training clips of the same class, in the embedding."""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor

from asd.scorers.base import PerClassScorer
from asd.scorers.distance import Metric, distance_blocks, metric_space
from asd.scorers.embedded import Embedded


class KnnConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """k: neighbours. metric: 1 - cosine, or Euclidean distance of the embeddings as they are."""

    name: Literal["knn"] = "knn"
    k: pydantic.PositiveInt = 1
    metric: Metric = "cosine"

    @property
    def label(self) -> str:
        metric = "" if self.metric == "cosine" else f"_{self.metric}"
        return f"knn{metric}" + (f"_k{self.k}" if self.k > 1 else "")


class Knn(PerClassScorer[Tensor]):
    """Keeps the training embeddings of each class, (n, D) float32. A class with fewer than k clips uses all it has."""

    def __init__(self, config: KnnConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: Embedded) -> Tensor:
        return train.embedding

    def score_class(self, model: Tensor, test: Embedded) -> Tensor:
        # Float64 one class at a time: a bank of 36,000 x 2048 would take 600 MB.
        query, bank = (metric_space(x, self.config.metric) for x in (test.embedding, model))
        return nearest_distance(query, bank, self.config.k, self.config.metric)


def nearest_distance(query: Tensor, bank: Tensor, k: int, metric: Metric) -> Tensor:
    """Mean distance (N,) of query (N, D) to its k nearest rows of bank (n, D), or to all of them where n < k.

    Both float64 (in float32 a² + b² - 2ab of two close embeddings is mostly rounding); cosine takes unit rows.
    """
    k = min(k, len(bank))
    blocks = distance_blocks(query, bank, metric)
    return torch.cat([block.topk(k, dim=1, largest=False).values.mean(dim=1) for block in blocks])
