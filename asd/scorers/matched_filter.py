"""How far a clip lies from what is normal in the direction of the known faults: an adaptive matched filter.

Robey, Fuhrmann, Kelly & Nitzberg, A CFAR adaptive matched filter detector (1992), with the mean known fault as the
signal and the normal training clips as the noise; the direction is that of Fisher's linear discriminant. What is known
of few faults is their mean alone, so the covariance is that of normal clips, shrunk as in `mahalanobis`.
Legend: N test clips, n training clips of a class, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.covariance import Covariance
from asd.scorers.distance import relative_zero
from asd.scorers.embeddings import EmbeddingTable


class MatchedFilterConfig(EmbeddingScorerConfig, frozen=True):
    """Nothing is trained; for training clips that are labelled anomaly (docs/data.md). 0 for machines without any."""

    name: Literal["matched_filter"] = "matched_filter"

    @property
    def label(self) -> str:
        return "matched_filter"


class Filter(NamedTuple):
    """(D,) float64 each. The projection of normal clips has variance 1 under the shrunk covariance."""

    mean: Tensor
    weights: Tensor


class MatchedFilter(PerClassScorer[Filter | None]):
    """(x - m)ᵀ Σ⁻¹ d / sqrt(dᵀ Σ⁻¹ d), d = f - m; m, f: means of the normal training clips and of the known faults. 0
    where that is below 0: a clip that differs the other way round is no more normal for it.

    One training clip, or equal ones, give the Euclidean projection on d. None: a class without known faults.
    """

    learns_from_faults = True

    def __init__(self, config: MatchedFilterConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> Filter | None:
        known = train.known_faults
        faults = None if known is None else known.embedding[known.class_index == train.class_index[0]].double()
        if faults is None or not len(faults):
            return None
        normal = train.embedding.double()
        mean = normal.mean(dim=0)
        centred, signal = normal - mean, faults.mean(dim=0) - mean
        spread = centred.square().sum(dim=1).mean().sqrt()
        weights = signal if spread <= relative_zero(normal) else Covariance.of(centred).solve(signal)
        energy = (weights @ signal).clamp_min(torch.finfo(torch.float64).tiny)  # 0: a fault that is the mean itself
        return Filter(mean, weights / energy.sqrt())

    def traceable(self, models: Sequence[Filter | None]) -> Sequence[Filter | None]:
        """Classes without known faults have a filter that lets nothing through, where others have one."""
        known = next((model for model in models if model is not None), None)
        nothing = None if known is None else Filter(known.mean, torch.zeros_like(known.weights))
        return [nothing if model is None else model for model in models]

    def score_class(self, model: Filter | None, test: EmbeddingTable) -> Tensor:
        if model is None:
            return torch.zeros(len(test), dtype=torch.float64)
        return ((test.embedding.double() - model.mean) @ model.weights).clamp_min(0)
