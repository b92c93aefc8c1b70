"""Distance of a clip from the subspace of the class's principal axes.

Legend: N test clips, n training clips of a class, D embedding, P axes.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import pydantic
import torch
from torch import Tensor

from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.distance import Space, in_space, relative_zero
from asd.scorers.embeddings import EmbeddingTable


class PcaResidualConfig(EmbeddingScorerConfig, frozen=True):
    """variance: share of the training clips' variance that the axes must span, the fewest that do; of 0 none: the
    distance to the mean. space: embeddings on the unit sphere, or as they are.
    """

    name: Literal["pca_residual"] = "pca_residual"
    variance: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.9
    space: Space = "raw"

    @property
    def label(self) -> str:
        space = "" if self.space == "raw" else f"_{self.space}"
        return f"pca_residual{space}" + ("" if self.variance == 0.9 else f"_v{self.variance:g}")


class Subspace(NamedTuple):
    """mean (D,) and orthonormal axes (D, P), float64."""

    mean: Tensor
    axes: Tensor


class PcaResidual(PerClassScorer[Subspace]):
    """|x - m - A Aᵀ(x - m)|, from 0. One training clip, or equal ones, have no axes: the distance to them."""

    def __init__(self, config: PcaResidualConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> Subspace:
        rows = in_space(train.embedding, self.config.space)
        mean = rows.mean(dim=0)
        _, strength, axes = torch.linalg.svd(rows - mean, full_matrices=False)
        variance = strength.square()
        if variance.sum().sqrt() <= relative_zero(rows):
            return Subspace(mean, axes[:0].T)
        explained = variance.cumsum(0) / variance.sum()
        count = int((explained < self.config.variance).sum()) + 1 if self.config.variance > 0 else 0
        return Subspace(mean, axes[:count].T)

    def score_class(self, model: Subspace, test: EmbeddingTable) -> Tensor:
        centred = in_space(test.embedding, self.config.space) - model.mean
        return (centred - centred @ model.axes @ model.axes.T).norm(dim=1)
