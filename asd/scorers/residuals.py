"""Covariances of reconstruction residuals by class and domain, gathered while clips are embedded.

Legend: G groups (a class in a domain), M bins, R residual vectors of a clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

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
        vectors = residuals.double() * counted[:, None, None]
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

    def to_tensors(self) -> dict[str, Tensor]:
        """As safetensors stores them."""
        return {f"residuals.{name}": getattr(self, name) for name in ("count", "total", "square")}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> ResidualMoments | None:
        """The inverse; None where there are none."""
        if "residuals.count" not in tensors:
            return None
        return cls(*(tensors[f"residuals.{name}"] for name in ("count", "total", "square")))
