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
from asd.scorers.embedded import Embedded
from asd.scorers.residuals import DOMAINS


class SelectiveMahalanobisConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """No settings."""

    name: Literal["selective_mahalanobis"] = "selective_mahalanobis"

    @property
    def label(self) -> str:
        return "selective_mahalanobis"


class SelectiveMahalanobis(PerClassScorer[list[Tensor]]):
    """min over the domains of mᵀ Σ⁻¹ m: m the clip's mean residual by bin, Σ the covariance of the residual vectors of
    the class's training clips of a domain. That is what the official code computes: it means all pairs of a clip's
    frames. A singular Σ has its pseudo-inverse in place of the inverse."""

    wants = "residuals"

    def __init__(self, config: SelectiveMahalanobisConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: Embedded) -> list[Tensor]:
        if train.residuals is None:
            raise UserError("selective_mahalanobis needs the residuals of a network that reconstructs spectrograms")
        own = int(train.class_index[0])
        found = (train.residuals.covariance(own, domain) for domain in range(DOMAINS))
        return [torch.linalg.pinv(covariance, hermitian=True) for covariance in found if covariance is not None]

    def score_class(self, model: list[Tensor], test: Embedded) -> Tensor:
        mean = test.embedding.double()
        return torch.stack([((mean @ inverse) * mean).sum(1) for inverse in model]).amin(0)
