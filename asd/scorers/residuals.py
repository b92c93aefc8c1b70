"""Covariances of reconstruction residuals by class and domain, gathered while clips are embedded.

Legend: B clips, G groups (a class in a domain), M bins, R residual vectors of a clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_VARIANCE = 1e-12  # of the vectors' mean square length: float32, as they come, tells no less apart
DOMAINS = 3  # of asd.data.manifest: none, source, target


def group_of(class_index: Tensor, domain: Tensor) -> Tensor:
    """Group of each clip."""
    return class_index * DOMAINS + domain


@dataclass(frozen=True)
class ResidualMoments:
    """Sums over the residual vectors of each group's clips; float64 on the CPU once gathered."""

    count: Tensor  # (G,)
    total: Tensor  # (G, M)
    square: Tensor  # (G, M, M)

    @classmethod
    def zeros(cls, classes: int, bins: int, device: torch.device) -> ResidualMoments:
        groups = classes * DOMAINS
        shapes = ((groups,), (groups, bins), (groups, bins, bins))
        return cls(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    def add(self, residuals: Tensor, group: Tensor, counted: Tensor) -> None:
        """Count the vectors (B, R, M) of clips (B,) in their group; those not counted weigh nothing."""
        vectors = residuals.masked_fill(~counted[:, None, None], 0.0).double()  # 0 · nan would be nan
        self.count.index_add_(0, group, counted.double() * residuals.shape[1])
        self.total.index_add_(0, group, vectors.sum(1))
        self.square.index_add_(0, group, vectors.transpose(1, 2) @ vectors)

    def covariance(self, class_index: int, domain: int) -> Tensor | None:
        """(M, M), unbiased; None where the group has fewer than two vectors."""
        group = class_index * DOMAINS + domain
        count = self.count[group]
        if count < 2:
            return None
        mean = self.total[group] / count
        return (self.square[group] - count * mean.outer(mean)) / (count - 1)

    def whitening(self, class_index: int, domain: int) -> Tensor | None:
        """W (M, M), of which W Wᵀ is the inverse of the covariance; None where there is none.

        Directions in which the vectors do not spread (there are some where M vectors or fewer were counted) get
        `LEAST_VARIANCE`: who strays there is far away. A pseudo-inverse would not see it.
        """
        covariance = self.covariance(class_index, domain)
        if covariance is None:
            return None
        group = class_index * DOMAINS + domain
        square_length = float(self.square[group].trace() / self.count[group])
        variance, axes = torch.linalg.eigh(covariance)
        return axes / variance.clamp_min(max(LEAST_VARIANCE * square_length, 1e-30)).sqrt()

    def to_tensors(self) -> dict[str, Tensor]:
        """As safetensors stores them."""
        return {f"residuals.{name}": getattr(self, name) for name in ("count", "total", "square")}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> ResidualMoments | None:
        """The inverse; None where there are none."""
        if "residuals.count" not in tensors:
            return None
        return cls(*(tensors[f"residuals.{name}"] for name in ("count", "total", "square")))
