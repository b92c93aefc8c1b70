"""Covariances of reconstruction residuals by class and domain, gathered while clips are embedded.

Legend: B clips, G groups (a class in a domain), K folds of recordings, M bins, R residual vectors of a clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from asd.scorers.folds import FOLDS

_NAMES = ("count", "total", "square", "recording", "fold")
MIN_VARIANCE = 1e-12  # of the vectors' mean square length: float32, as they come, tells no less apart
DOMAINS = 3  # of asd.data.manifest: none, source, target


def group_of(class_index: Tensor, domain: Tensor) -> Tensor:
    """Group of each clip, in the first fold; each further fold adds G."""
    return class_index * DOMAINS + domain


@dataclass(frozen=True)
class ResidualMoments:
    """Sums over the residual vectors of each group's clips in each fold; float64 on the CPU once gathered."""

    count: Tensor  # (K·G,)
    total: Tensor  # (K·G, M)
    square: Tensor  # (K·G, M, M)
    recording: Tensor | None = None  # (n,) ascending: recordings that were counted; None: all are in the first fold
    fold: Tensor | None = None  # (n,) of each

    @classmethod
    def zeros(cls, classes: int, bins: int, device: torch.device) -> ResidualMoments:
        groups = FOLDS * classes * DOMAINS
        shapes = ((groups,), (groups, bins), (groups, bins, bins))
        return cls(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    def add(self, residuals: Tensor, group: Tensor, counted: Tensor) -> None:
        """Count the vectors (B, R, M) of clips (B,) in their group; those not counted weigh nothing."""
        vectors = residuals.masked_fill(~counted[:, None, None], 0.0).double()  # 0 · nan would be nan
        self.count.index_add_(0, group, counted.double() * residuals.shape[1])
        self.total.index_add_(0, group, vectors.sum(1))
        self.square.index_add_(0, group, vectors.transpose(1, 2) @ vectors)

    def fold_of(self, recording: Tensor) -> Tensor:
        """(N,) the fold that each recording was counted in; -1 where it was not."""
        if self.recording is None or self.fold is None:
            return torch.full_like(recording, -1)
        place = torch.searchsorted(self.recording, recording).clamp_max(len(self.recording) - 1)
        return torch.where(self.recording[place] == recording, self.fold[place], -1)

    def _sums(self, class_index: int, domain: int, without: int) -> tuple[Tensor, Tensor, Tensor]:
        """Count, total and square of a group over all folds but one; -1: over all."""
        folds = torch.tensor([fold for fold in range(FOLDS) if fold != without])
        rows = folds * (len(self.count) // FOLDS) + class_index * DOMAINS + domain
        return self.count[rows].sum(0), self.total[rows].sum(0), self.square[rows].sum(0)

    def covariance(self, class_index: int, domain: int, without: int = -1) -> Tensor | None:
        """(M, M), unbiased, of the vectors of all folds but one; None where the group has fewer than two."""
        count, total, square = self._sums(class_index, domain, without)
        if count < 2:
            return None
        mean = total / count
        return (square - count * mean.outer(mean)) / (count - 1)

    def whitening(self, class_index: int, domain: int, without: int = -1) -> Tensor | None:
        """W (M, M), of which W Wᵀ is the inverse of the covariance; None where there is none.

        Directions in which the vectors do not spread (there are some where M vectors or fewer were counted) get
        `MIN_VARIANCE`: who strays there is far away. A pseudo-inverse would not see it.
        """
        covariance = self.covariance(class_index, domain, without)
        if covariance is None:
            return None
        count, _, square = self._sums(class_index, domain, without)
        square_length = float(square.trace() / count)
        variance, axes = torch.linalg.eigh(covariance)
        return axes / variance.clamp_min(max(MIN_VARIANCE * square_length, 1e-30)).sqrt()

    def to_tensors(self) -> dict[str, Tensor]:
        """As safetensors stores them."""
        return {f"residuals.{name}": x for name in _NAMES if (x := getattr(self, name)) is not None}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> ResidualMoments | None:
        """The inverse; None where there are none."""
        if "residuals.count" not in tensors:
            return None
        return cls(*(tensors.get(f"residuals.{name}") for name in _NAMES))  # type: ignore[arg-type]
