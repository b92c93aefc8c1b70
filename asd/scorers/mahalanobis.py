"""Mahalanobis distance to the mean of the class's training embeddings, under a shrunk covariance.

Shrinkage of Ledoit & Wolf, A well-conditioned estimator for large-dimensional covariance matrices (2004).
Legend: N test clips, n training clips of a class, D embedding.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
import torch
from torch import Tensor

from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.distance import Space, in_space, relative_zero
from asd.scorers.embeddings import EmbeddingTable

# Two clips have a Ledoit-Wolf shrinkage of 0 and a singular covariance; this keeps every one invertible.
MIN_SHRINKAGE = 1e-4

PER = pydantic.AliasChoices("per", "of")  # of: its name until November 2026


class MahalanobisConfig(EmbeddingScorerConfig, frozen=True):
    """shrinkage: a in the covariance (1 - a)·S + a·tr(S)/D·I, a number or as Ledoit & Wolf estimate it.

    space: embeddings on the unit sphere, or as they are. per: one model of the class, or one of each of its domains, of
    which the smaller distance counts.
    """

    name: Literal["mahalanobis"] = "mahalanobis"
    shrinkage: Literal["ledoit_wolf"] | Annotated[float, pydantic.Field(ge=MIN_SHRINKAGE, le=1)] = "ledoit_wolf"
    space: Space = "unit"
    per: Annotated[Literal["class", "domain"], pydantic.Field(validation_alias=PER)] = "class"

    @property
    def label(self) -> str:
        shrinkage = "" if self.shrinkage == "ledoit_wolf" else f"_a{self.shrinkage:g}"
        per = "" if self.per == "class" else f"_{self.per}"
        return "mahalanobis" + per + ("" if self.space == "unit" else f"_{self.space}") + shrinkage


class Mahalanobis(PerClassScorer[list[Tensor]]):
    """sqrt((x - m)ᵀ Σ⁻¹ (x - m)), from 0. One training clip, or equal ones, give the Euclidean distance."""

    def __init__(self, config: MahalanobisConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> list[Tensor]:
        if self.config.per == "class":
            return [train.embedding]
        return [train.embedding[train.domain == domain] for domain in train.domain.unique()]

    def score_class(self, model: list[Tensor], test: EmbeddingTable) -> Tensor:
        return torch.stack([self._distance(train, test.embedding) for train in model]).amin(0)

    def _distance(self, train: Tensor, query: Tensor) -> Tensor:
        """(N,) of query (N, D) to the mean of train (n, D).

        Of fewer clips than dimensions nothing of size D x D is made: Woodbury's identity needs n x n products alone.
        """
        train, query = (in_space(x, self.config.space) for x in (train, query))
        mean = train.mean(dim=0)
        centred, query = train - mean, query - mean
        if centred.square().sum(dim=1).mean().sqrt() <= relative_zero(train):
            return query.norm(dim=1)
        n, d = centred.shape
        products = centred @ centred.T if n < d else centred.T @ centred
        a = self.config.shrinkage if self.config.shrinkage != "ledoit_wolf" else ledoit_wolf(centred, products)
        ridge = a * float(centred.square().sum()) / (n * d)
        products.mul_((1.0 - a) / n).diagonal().add_(ridge)
        factor = torch.linalg.cholesky(products)
        if n >= d:
            return torch.linalg.solve_triangular(factor, query.T, upper=False).norm(dim=0)
        inside = torch.linalg.solve_triangular(factor, centred @ query.T, upper=False).square().sum(dim=0)
        return ((query.square().sum(dim=1) - (1.0 - a) / n * inside).clamp_min(0) / ridge).sqrt()


def ledoit_wolf(centred: Tensor, products: Tensor) -> float:
    """The shrinkage that Ledoit & Wolf estimate for centred rows (n, D), at least MIN_SHRINKAGE.

    products: of the rows (n, n) or of the columns (D, D), whose squares have the same sum. scikit-learn's
    ledoit_wolf_shrinkage gives the same to rounding from two D x D products: a fit to 39 clips in 640 dimensions took
    44 ms with it and takes 1.4 ms, and leaving each recording of an hour out in 16 views takes 26,000 fits.
    """
    n, d = centred.shape
    lengths = centred.square().sum(dim=1)
    variance = float(lengths.sum()) / (n * d)
    squares = float(products.square().sum()) / n**2
    noise = (float(lengths.square().sum()) / n - squares) / (n * d)
    signal = squares / d - variance**2
    return max(min(noise / signal, 1.0) if signal > 0 and d > 1 else 0.0, MIN_SHRINKAGE)
