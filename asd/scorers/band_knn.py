"""The distance of each band to its own nearest training clip, averaged over bands (BEAM, arXiv 2603.13749).

Legend: N test clips, n training clips of a class, K values of each of M bands, D = K·M.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from asd.scorers.bank import BankConfig, in_bank
from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.embeddings import EmbeddingTable

BLOCK = 1 << 18  # numbers at once: 2 MB, which stay in the cache
SORT_FROM = 16  # rows that are scored, from which on sorting a bank costs less than comparing each with all of it
NO_GROUP = torch.iinfo(torch.int64).min


class BandKnnConfig(EmbeddingScorerConfig, BankConfig, frozen=True):
    """Euclidean, of the values that the view has of each band; where it says nothing of bands, of each column."""

    name: Literal["band_knn"] = "band_knn"

    @property
    def label(self) -> str:
        return "band_knn"


class BandKnn(PerClassScorer[EmbeddingTable]):
    """Keeps the training rows of each class. A narrow tone is far from all clips in its own bands alone, where the
    distance of whole spectra drowns it in the others' scatter."""

    needs_folds = False

    def __init__(self, config: BandKnnConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> EmbeddingTable:
        return in_bank(train, self.config, train.embedding)

    def score_class(self, model: EmbeddingTable, test: EmbeddingTable) -> Tensor:
        return self.band_distances(model, test).mean(1)

    def band_distances(self, model: EmbeddingTable, test: EmbeddingTable) -> Tensor:
        """(N, M) float64: how far each band is from the class's nearest clip in that band; nan where there is none."""
        query, bank = (self._bands(clips) for clips in (test, model))
        sorts = query.shape[2] == 1 and not torch.compiler.is_exporting() and len(test) >= SORT_FROM
        search = nearest_value if sorts else nearest_point
        nearest = search(query, test.recording, bank, model.recording).T.contiguous()
        return torch.where(nearest.isfinite(), nearest, torch.nan)

    def _bands(self, clips: EmbeddingTable) -> Tensor:
        """(M, N, K) float64, bands first."""
        rows = clips.embedding.double()
        _, _, bands = clips.views.get(self.view or "", (0, 0, rows.shape[1]))
        return rows.unflatten(1, (-1, bands)).permute(2, 0, 1)


def nearest_point(query: Tensor, group: Tensor, bank: Tensor, bank_group: Tensor) -> Tensor:
    """(M, N): of every band of the queries (M, N, K) the distance to the nearest of the bank (M, n, K) that is not of
    the query's own group (N,); infinite where there is none."""
    size, found = max(1, BLOCK // bank[..., 0].numel()), []
    for own, its in zip(query.split(size, 1), group.split(size), strict=True):
        distances = torch.cdist(own, bank, compute_mode="donot_use_mm_for_euclid_dist")  # few values: no rounding
        found.append(distances.masked_fill_(its[:, None] == bank_group, torch.inf).amin(2))
    return torch.cat(found, 1)


def nearest_value(query: Tensor, group: Tensor, bank: Tensor, bank_group: Tensor) -> Tensor:
    """The same of one value a band: of the bank's sorted values, one of the two that a query lies between."""
    bands = max(1, BLOCK // (query.shape[1] + bank.shape[1]))
    blocks = zip(query[..., 0].split(bands), bank[..., 0].split(bands), strict=True)
    return torch.cat([_beside(own.contiguous(), group, values, bank_group) for own, values in blocks])


def _beside(query: Tensor, group: Tensor, bank: Tensor, bank_group: Tensor) -> Tensor:
    """Queries (M, N), a bank (M, n). A neighbour of the query's own group stands in a run of them: the value beyond
    that run is the nearest of another group on this side."""
    ends = bank.new_tensor([-torch.inf, torch.inf]).expand(len(bank), 2)  # belong to no group, and are never beyond
    values = torch.cat([ends, bank], 1)
    order = torch.from_numpy(np.argsort(values.numpy(), axis=1))  # a third of the time of torch's sort
    values = values.gather(1, order)
    groups = torch.cat([bank_group.new_full((2,), NO_GROUP), bank_group])[order]
    place = torch.arange(values.shape[1])
    begins, stops = torch.ones_like(groups, dtype=torch.bool), torch.ones_like(groups, dtype=torch.bool)
    begins[:, 1:] = stops[:, :-1] = groups[:, 1:] != groups[:, :-1]
    below = torch.where(begins, place, 0).cummax(1).values - 1
    above = torch.where(stops, place, len(place)).flip(1).cummin(1).values.flip(1) + 1
    at, found = torch.searchsorted(values, query), []
    for beside, beyond in ((at - 1, below), (at, above)):
        chosen = torch.where(groups.gather(1, beside) == group, beyond.gather(1, beside), beside)
        found.append((query - values.gather(1, chosen)).abs())
    return torch.minimum(*found)
