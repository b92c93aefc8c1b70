"""kNN distance relative to how close the training clips lie to each other there.

Wilkinghoff, Yang, Ebbers, Germain, Wichern, Le Roux: Keeping the Balance: Anomaly Score Calculation for Domain
Generalization (ICASSP 2025), and Local Density-Based Anomaly Score Normalization for Domain Generalization (2025, arXiv
2509.10951). As there, each training clip's distance is normalised first and the nearest are chosen after that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import pydantic
import torch
from torch import Tensor

from asd.scorers.base import PerClassScorer
from asd.scorers.distance import Metric, distance_blocks, metric_space, other_distance_blocks, resolution
from asd.scorers.embedded import Embedded


class LocalKnnConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """k: neighbours. density_k: how many neighbours of a training clip make its density. metric: as of knn.

    normalisation: `ratio` divides a training clip's distance by its own mean distance to its neighbours, `difference`
    subtracts that.
    """

    name: Literal["local_knn"] = "local_knn"
    k: pydantic.PositiveInt = 1
    density_k: pydantic.PositiveInt = 4
    normalisation: Literal["ratio", "difference"] = "ratio"
    metric: Metric = "cosine"

    @property
    def label(self) -> str:
        parts = [
            "local_knn",
            "" if self.metric == "cosine" else self.metric,
            "" if self.normalisation == "ratio" else self.normalisation,
            f"k{self.k}" if self.k != 1 else "",
            f"d{self.density_k}" if self.density_k != 4 else "",
        ]
        return "_".join(filter(None, parts))


class Local(NamedTuple):
    """Training embeddings (n, D) float32 of a class and the density (n,) float64 around each: a mean distance."""

    embedding: Tensor
    density: Tensor


class LocalKnn(PerClassScorer[Local]):
    """Classes with fewer clips than asked for use all they have; one clip, or equal ones, give the plain distance."""

    def __init__(self, config: LocalKnnConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: Embedded) -> Local:
        return Local(train.embedding, self._density(metric_space(train.embedding, self.config.metric)))

    def score_class(self, model: Local, test: Embedded) -> Tensor:
        k = min(self.config.k, len(model.embedding))
        blocks = self._blocks(model, test)
        return torch.cat([block.topk(k, dim=1, largest=False).values.mean(dim=1) for block in blocks])

    def _blocks(self, model: Local, test: Embedded) -> Iterator[Tensor]:
        query, bank = (metric_space(x, self.config.metric) for x in (test.embedding, model.embedding))
        ratio = self.config.normalisation == "ratio"
        for block in distance_blocks(query, bank, self.config.metric):
            yield block / model.density if ratio else block - model.density

    def _density(self, bank: Tensor) -> Tensor:
        k, metric = min(self.config.density_k, len(bank) - 1), self.config.metric
        zero = resolution(bank, metric)
        blocks = other_distance_blocks(bank, metric) if k else ()
        means = [block.topk(k, dim=1, largest=False).values.mean(dim=1) for block in blocks]
        density = torch.cat(means) if means else torch.zeros(1, dtype=torch.float64)
        if density.max() <= zero:  # no density to speak of
            return torch.full_like(density, 1.0 if self.config.normalisation == "ratio" else 0.0)
        return density.clamp_min(zero)
