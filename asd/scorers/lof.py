"""Local outlier factor (Breunig, Kriegel, Ng, Sander 2000) of a test clip among the training clips of its class.

The same numbers as scikit-learn's LocalOutlierFactor(novelty=True), in float64 matmuls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import pydantic
import torch
from torch import Tensor

from asd.scorers.base import PerClassScorer
from asd.scorers.distance import Metric, distance_blocks, metric_space, other_distance_blocks, resolution
from asd.scorers.embedded import Embedded


class LofConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """k: neighbours, at most the class's other clips. metric: as of knn."""

    name: Literal["lof"] = "lof"
    k: pydantic.PositiveInt = 20
    metric: Metric = "cosine"

    @property
    def label(self) -> str:
        return "lof" + ("" if self.metric == "cosine" else f"_{self.metric}") + (f"_k{self.k}" if self.k != 20 else "")


class Neighbourhood(NamedTuple):
    """Of the n training clips of a class: embedding (n, D) float32; (n,) float64 each: distance to the k-th neighbour,
    and density, 1 / mean reachability distance to the k neighbours."""

    embedding: Tensor
    reach: Tensor
    density: Tensor


class Lof(PerClassScorer[Neighbourhood]):
    """Mean density of the k nearest training clips / density of the clip: about 1 inside, higher outside.

    A class of one clip has no neighbourhood: the plain distance to it.
    """

    def __init__(self, config: LofConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: Embedded) -> Neighbourhood:
        bank = metric_space(train.embedding, self.config.metric)
        if len(bank) == 1:
            none = torch.empty(0, dtype=torch.float64)
            return Neighbourhood(train.embedding, none, none)
        distance, index = self._nearest(other_distance_blocks(bank, self.config.metric), len(bank) - 1)
        reach = distance[:, -1]
        return Neighbourhood(train.embedding, reach, self._density(distance, reach[index], bank))

    def score_class(self, model: Neighbourhood, test: Embedded) -> Tensor:
        query, bank = (metric_space(x, self.config.metric) for x in (test.embedding, model.embedding))
        distance, index = self._nearest(distance_blocks(query, bank, self.config.metric), max(len(bank) - 1, 1))
        if len(bank) == 1:
            return distance[:, 0]
        return model.density[index].mean(dim=1) / self._density(distance, model.reach[index], bank)

    def _nearest(self, blocks: Iterable[Tensor], most: int) -> tuple[Tensor, Tensor]:
        """Distances and indices of the k nearest, (N, k) each, k at most `most`; nearest first."""
        found = [block.topk(min(self.config.k, most), dim=1, largest=False) for block in blocks]
        return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])

    def _density(self, distance: Tensor, reach: Tensor, bank: Tensor) -> Tensor:
        zero = resolution(bank, self.config.metric)  # equal clips would have infinite density
        return 1.0 / torch.maximum(distance, reach).mean(dim=1).clamp_min(zero)
