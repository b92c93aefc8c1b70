"""Mahalanobis distance to the mean of the class's training embeddings, under a shrunk covariance.

Legend: N test clips, n training clips of a class, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import pydantic
import torch
from torch import Tensor

from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.covariance import MIN_SHRINKAGE, Covariance
from asd.scorers.distance import Space, in_space, relative_zero
from asd.scorers.embeddings import EmbeddingTable

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


class Cloud(NamedTuple):
    """Mean (D,) and covariance of training clips, float64. covariance: None of one clip, or of equal ones."""

    mean: Tensor
    covariance: Covariance | None

    def distance(self, query: Tensor) -> Tensor:
        """(N,) of query (N, D)."""
        centred = query - self.mean
        return centred.norm(dim=1) if self.covariance is None else self.covariance.distance(centred)


class Ellipsoid(NamedTuple):
    """A mean (D,), the axes (D, P) float32 along which training clips spread, 1 / variance (P,) along each of them and
    beside all of them."""

    mean: Tensor
    axes: Tensor
    along: Tensor
    beside: float

    @classmethod
    def of(cls, cloud: Cloud) -> Ellipsoid:
        """The one of the same distances."""
        mean, covariance = cloud
        if covariance is None:
            return cls(mean, mean.new_empty(len(mean), 0).float(), mean[:0], 1.0)
        _, strength, axes = torch.linalg.svd(covariance.centred, full_matrices=False)
        along = 1.0 / (covariance.weight * strength.square() + covariance.ridge)
        return cls(mean, axes.T.float(), along, 1.0 / covariance.ridge)

    def distance(self, query: Tensor) -> Tensor:
        """(N,) of query (N, D): |Aᵀx|² and |x - A Aᵀx|², each by its variances."""
        centred, axes = query - self.mean, self.axes.double()
        inside = centred @ axes
        outside = centred - inside @ axes.T
        return (inside.square() @ self.along + outside.square().sum(dim=1) * self.beside).sqrt()


class Mahalanobis(PerClassScorer[list[Tensor]]):
    """sqrt((x - m)ᵀ Σ⁻¹ (x - m)), from 0. One training clip, or equal ones, give the Euclidean distance.

    Its models are training rows (n, D), which take less memory than covariances.
    """

    def __init__(self, config: MahalanobisConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> list[Tensor]:
        if self.config.per == "class":
            return [train.embedding]
        return [train.embedding[train.domain == domain] for domain in train.domain.unique()]

    def score_class(self, model: list[Tensor] | list[Cloud] | list[Ellipsoid], test: EmbeddingTable) -> Tensor:
        query = in_space(test.embedding, self.config.space)
        clouds = (self._cloud(one) if isinstance(one, Tensor) else one for one in model)
        return torch.stack([cloud.distance(query) for cloud in clouds]).amin(0)

    def prepared(self, model: list[Tensor]) -> list[Cloud]:
        """With covariances factorised."""
        return [self._cloud(train) for train in model]

    def traceable(self, models: Sequence[list[Tensor]]) -> Sequence[list[Ellipsoid]]:
        """ONNX factorises no matrix: of training clips it gets the principal axes."""
        return [[Ellipsoid.of(self._cloud(train)) for train in model] for model in models]

    def _cloud(self, train: Tensor) -> Cloud:
        train = in_space(train, self.config.space)
        mean = train.mean(dim=0)
        centred = train - mean
        are_equal = bool(centred.square().sum(dim=1).mean().sqrt() <= relative_zero(train))
        return Cloud(mean, None if are_equal else Covariance.of(centred, self.config.shrinkage))
