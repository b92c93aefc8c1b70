"""Nearest neighbours in a bank for each domain, of which the nearer one counts; the few clips of the target domain
grow by SMOTE (Chawla et al. 2002). As the public code of ASDKit scores."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Literal

import pydantic
import torch
from torch import Tensor

from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.distance import Metric, Rows, distance_blocks, metric_space, nearest, rows_of
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.knn import nearest_distance

TARGET = 2  # asd.data.manifest.DOMAINS.index("target")
NEIGHBOURS = 2  # of a target clip, of which one is the other end of a new point's line


class DomainKnnConfig(EmbeddingScorerConfig, frozen=True):
    """k: neighbours in each bank. metric: as of knn. smote: share of the class's other clips to which those of the
    target domain grow by points between neighbours; 0: they stay as they are.
    """

    name: Literal["domain_knn"] = "domain_knn"
    k: pydantic.PositiveInt = 1
    metric: Metric = "cosine"
    smote: float = pydantic.Field(0.2, ge=0, le=1)

    @property
    def label(self) -> str:
        parts = [
            "domain_knn",
            "" if self.metric == "cosine" else self.metric,
            f"k{self.k}" if self.k > 1 else "",
            "" if self.smote == 0.2 else f"smote{self.smote:g}",
        ]
        return "_".join(filter(None, parts))


class DomainKnn(PerClassScorer[list[EmbeddingTable]]):
    """The distance to the nearer of two banks, target clips and others; whose clip a test clip is need not be known.

    A class without target clips has one bank: its scores are those of knn.
    """

    def __init__(self, config: DomainKnnConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> list[EmbeddingTable]:
        target = train.domain == TARGET
        banks = [train.select(rows) for rows in (~target, target) if rows.any()]
        if len(banks) == 2 and self.config.smote:
            banks[1] = grown(banks[1], int(self.config.smote * len(banks[0])), self.config.metric)
        return banks

    def score_class(self, model: list[EmbeddingTable], test: EmbeddingTable) -> Tensor:
        k, metric = self.config.k, self.config.metric
        query = rows_of(test, metric)
        return reduce(torch.fmin, (nearest_distance(query, rows_of(bank, metric), k, metric) for bank in model))


def grown(bank: EmbeddingTable, count: int, metric: Metric) -> EmbeddingTable:
    """The rows of a bank, and behind them points between neighbours until there are `count`; the same at every call.

    A new one lies anywhere on the line from a row to one of its two nearest, in the metric's space. One row alone has
    no neighbour.
    """
    rows, more = metric_space(bank.embedding, metric), count - len(bank)
    if more <= 0 or len(bank) < 2:
        return bank
    apart = Rows(rows, torch.arange(len(rows)))
    mates = torch.cat([nearest(block, NEIGHBOURS)[1] for block in distance_blocks(apart, apart, metric)])
    mates = mates[:, : len(rows) - 1]  # of two rows the second nearest is the row itself
    random = torch.Generator().manual_seed(0)
    begin = torch.randint(len(rows), (more,), generator=random)
    end = mates[begin, torch.randint(mates.shape[1], (more,), generator=random)]
    share = torch.rand(more, 1, generator=random, dtype=torch.float64)
    points = rows[begin] + share * (rows[end] - rows[begin])
    return bank.join(replace(bank.select(begin), embedding=points.float()))
