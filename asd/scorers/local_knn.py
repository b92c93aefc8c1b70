"""kNN distance relative to how close the training clips lie to each other there.

Wilkinghoff, Yang, Ebbers, Germain, Wichern, Le Roux: Keeping the Balance: Anomaly Score Calculation for Domain
Generalization (ICASSP 2025), and Local Density-Based Anomaly Score Normalization for Domain Generalization (2025, arXiv
2509.10951). As there, each training clip's distance is normalised first and the nearest are chosen after that.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import pydantic
import torch
from torch import Tensor

from asd.scorers.bank import BankConfig, in_bank
from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.density import local_density
from asd.scorers.distance import IN_TURN, Metric, mean_of_finite, neighbours, rows_of
from asd.scorers.embeddings import EmbeddingTable


class LocalKnnConfig(EmbeddingScorerConfig, BankConfig, frozen=True):
    """k: neighbours. density_k: how many neighbours of a training clip make its density. metric: as of knn.

    normalisation: `ratio` divides a training clip's distance by its own mean distance to its neighbours, `difference`
    subtracts that.
    """

    name: Literal["local_knn"] = "local_knn"
    k: pydantic.PositiveInt = 1
    density_k: pydantic.PositiveInt = 4
    normalisation: Literal["ratio", "difference"] = "ratio"
    metric: Metric = "cosine"
    # percentile of the steps between sorted distances, above which a step ends a clip's neighbours; None: all count
    cluster_exit: float | None = pydantic.Field(None, gt=0, lt=100)

    @property
    def label(self) -> str:
        parts = [
            "local_knn",
            "" if self.metric == "cosine" else self.metric,
            "" if self.normalisation == "ratio" else self.normalisation,
            f"k{self.k}" if self.k != 1 else "",
            f"d{self.density_k}" if self.density_k != 4 else "",
            "" if self.cluster_exit is None else f"exit{self.cluster_exit:g}",
        ]
        return "_".join(filter(None, parts))


class Local(NamedTuple):
    """Training rows of a class and the density (n,) float64 around each: a mean distance."""

    train: EmbeddingTable
    density: Tensor


class LocalKnn(PerClassScorer[Local]):
    """Classes with fewer clips than asked for use all they have; one clip, or equal ones, give the plain distance."""

    needs_folds = False
    in_turn = IN_TURN

    def __init__(self, config: LocalKnnConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> Local:
        config = self.config
        train = in_bank(train, config, train.embedding, config.metric, config.k)
        bank = rows_of(train, config.metric, apart="clip_index")
        density = local_density(bank, config.density_k, config.metric, "mean", config.cluster_exit)
        if density is None:
            density = torch.full((len(train),), 1.0 if config.normalisation == "ratio" else 0.0, dtype=torch.float64)
        return Local(train, density)

    def score_class(self, model: Local, test: EmbeddingTable) -> Tensor:
        query, bank = (rows_of(clips, self.config.metric) for clips in (test, model.train))
        by = torch.div if self.config.normalisation == "ratio" else torch.sub
        found, _ = neighbours(
            query, bank, self.config.k, self.config.metric, lambda block, part: by(block, model.density[part])
        )
        return mean_of_finite(found)
