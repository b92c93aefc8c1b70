"""The distance of each band to its own nearest training clip, averaged over bands (BEAM, arXiv 2603.13749).

Legend: N test clips, n training clips of a class, K values of each of M bands, D = K·M.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from asd.scorers.bank import BankConfig, in_bank
from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.embeddings import EmbeddingTable

DISTANCES = 1 << 22  # at once, of all bands: 32 MB


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
        size = max(1, DISTANCES // bank[..., 0].numel())
        found = []
        for own, recording in zip(query.split(size, 1), test.recording.split(size), strict=True):
            distances = torch.cdist(own, bank, compute_mode="donot_use_mm_for_euclid_dist")  # few values: no rounding
            distances.masked_fill_(recording[:, None] == model.recording, torch.inf)
            found.append(distances.amin(2).T)
        nearest = torch.cat(found)
        return torch.where(nearest.isfinite(), nearest, torch.nan)

    def _bands(self, clips: EmbeddingTable) -> Tensor:
        """(M, N, K) float64, bands first."""
        rows = clips.embedding.double()
        _, _, bands = clips.views.get(self.view or "", (0, 0, rows.shape[1]))
        return rows.unflatten(1, (-1, bands)).permute(2, 0, 1)
