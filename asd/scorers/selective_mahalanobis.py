"""The selective Mahalanobis score of DCASE's autoencoder baselines since 2023 (S6).

Legend: M bins, N test clips.
"""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor

from asd.errors import UserError
from asd.scorers.base import PerClassScorer
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.residuals import DOMAINS, ResidualMoments


class SelectiveMahalanobisConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """No settings."""

    name: Literal["selective_mahalanobis"] = "selective_mahalanobis"

    @property
    def label(self) -> str:
        return "selective_mahalanobis"


class SelectiveMahalanobis(PerClassScorer[list[Tensor]]):
    """min over the domains of mᵀ Σ⁻¹ m: m the clip's mean residual by bin, not centred; Σ the covariance of all
    residual vectors of the class's training clips of a domain. A domain without training clips has no say.

    So does the official code (nttcslab/dcase2023_task2_baseline_ae): its mean over all pairs of a clip's frames of
    rᵢᵀ Σ⁻¹ rⱼ is mᵀ Σ⁻¹ m. Its Σ is 5 times as large, divided by the number of stacks of 5 frames and not by that of
    frames, which changes no order. It also centres each batch of 256 stacks on itself, and so takes a part of Σ from a
    target domain of few clips, two or three stacks of a batch; here all frames are centred together. It has one Σ for
    all IDs of a type.
    """

    wants = "residuals"

    def __init__(self, config: SelectiveMahalanobisConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> list[Tensor]:
        if train.residuals is None:
            raise UserError("selective_mahalanobis needs the residuals of a network that reconstructs spectrograms")
        own = int(train.class_index[0])
        if not (known := _whitenings(train.residuals, own)):
            raise UserError(f"selective_mahalanobis: class {own} has fewer than two frames of training clips")
        return known

    def _score_folds(self, own: int, normal: EmbeddingTable, train: EmbeddingTable) -> Tensor:
        """As that of the others, from sums that were kept by fold: the vectors themselves are gone."""
        assert train.residuals is not None
        scores = torch.full((len(normal),), torch.nan, dtype=torch.float64)
        folds = train.residuals.fold_of(normal.recording)
        for fold in folds.unique().tolist():
            if known := _whitenings(train.residuals, own, without=fold):
                scores[folds == fold] = self.score_class(known, normal.select(folds == fold))
        return scores

    def score_class(self, model: list[Tensor], test: EmbeddingTable) -> Tensor:
        mean = test.embedding.double()
        return torch.stack([(mean @ whitening).square().sum(1) for whitening in model]).amin(0)


def _whitenings(residuals: ResidualMoments, own: int, without: int = -1) -> list[Tensor]:
    """Of the class's domains, as far as there are any; without the recordings of a fold."""
    found = [residuals.whitening(own, domain, without) for domain in range(DOMAINS)]
    return [whitening for whitening in found if whitening is not None]
