"""How many rows of a class a scorer keeps to compare others with. Legend: n rows of a class, D numbers of each."""

from __future__ import annotations

import logging
from abc import abstractmethod

import pydantic
from torch import Tensor

from asd.scorers.core_set import core_set
from asd.scorers.distance import Metric, metric_space
from asd.scorers.embeddings import EmbeddingTable

log = logging.getLogger(__name__)

MOST = 32_768


class BankConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Base of the configs of scorers that compare clips with training clips.

    Of a core set the log names r, the distance within which every training row has k kept ones. The mean distance of a
    new clip to its k nearest kept rows is then at least as large as that to its k nearest of all, and at most r larger:
    with d to the nearest of all, k kept rows lie within d + r. That is so of Euclidean distances; that of unit
    embeddings, which r is of where scores are cosines, is √(2·score). On the scale of `fused` the difference is r by
    the member's spread, beside what it changes of centre and spread. A distance relative to a density has no bound.
    """

    # rows of a class (clips, or their windows) that are kept to compare with; of more, a k-centre core set of them
    bank: int = pydantic.Field(default=MOST, ge=16)

    @property
    @abstractmethod
    def label(self) -> str:
        """The scorer's name, with every other setting that differs from the default."""


def in_bank(
    train: EmbeddingTable, config: BankConfig, rows: Tensor, metric: Metric = "euclidean", k: int = 1
) -> EmbeddingTable:
    """The training clips of a class that are kept: all, or a core set of them.

    rows: (n, D), what of them is compared, by this metric. k: neighbours that the scorer looks at.
    """
    if len(train) <= config.bank:
        return train
    chosen, radius = core_set(metric_space(rows, metric), config.bank, k)
    log.info(
        f"{config.label}: of {len(train):,} training rows of class {int(train.class_index[0])} "
        f"{len(chosen):,} are kept (bank), {k} of them within {radius:.4g} of every other"
    )
    return train.select(chosen)
