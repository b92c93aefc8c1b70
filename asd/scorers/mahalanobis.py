"""Mahalanobis distance to the mean of the class's training embeddings, under a shrunk covariance.

Legend: N test clips, n training clips of a class, D embedding.
"""

from __future__ import annotations

from typing import Annotated, Literal

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
        """(N,) of query (N, D) to the mean of train (n, D)."""
        train, query = (in_space(x, self.config.space) for x in (train, query))
        mean = train.mean(dim=0)
        centred, query = train - mean, query - mean
        if centred.square().sum(dim=1).mean().sqrt() <= relative_zero(train):
            return query.norm(dim=1)
        return Covariance.of(centred, self.config.shrinkage).distance(query)
