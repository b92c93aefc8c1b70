"""VICReg (Bardes et al. 2022, arXiv 2105.04906) with a mixture in place of the invariance, as S5 pre-trains.

Legend: N pairs of the global batch (the caller gathers them, with gradient), D outputs of the expander.
"""

from __future__ import annotations

from dataclasses import dataclass

import pydantic
import torch
from torch import Tensor

from asd.losses.geometric import Reduction, geometric_error

VARIANCE_EPSILON = 1e-4  # inside the root, as VICReg: a constant batch has a finite gradient


class VICRegConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Factors of the three terms."""

    gamma: pydantic.NonNegativeFloat = 25.0  # mixture
    mu: pydantic.NonNegativeFloat = 25.0  # variance
    nu: pydantic.NonNegativeFloat = 1.0  # covariance
    reduction: Reduction = "mean"  # of the mixture's squared error over D; sum: the norm of eq. 1 to the letter


@dataclass(frozen=True)
class VICRegTerms:
    """Scalars: the loss to differentiate and the three terms that make it up, before their factors."""

    loss: Tensor
    invariance: Tensor  # of the mixture
    variance: Tensor  # v(Z) + v(Z'); VICReg's own code takes half of it
    covariance: Tensor  # c(Z) + c(Z')


def vicreg(
    config: VICRegConfig,
    first: Tensor,
    second: Tensor,
    mixture: Tensor,
    weight: Tensor | float,
    valid: Tensor | None = None,
) -> VICRegTerms:
    """gamma·invariance + mu·variance + nu·covariance of Z, Z', Z_λ, each (N, D), in float32 (eq. 5 of the report).

    weight: λ, (N,) or one for all; valid (N,) bool: pairs that count, None for all.
    """
    counted = torch.ones(len(first), device=first.device) if valid is None else valid.float()
    with torch.autocast(first.device.type, enabled=False):
        errors = geometric_error(mixture, first, second, weight, config.reduction)
        invariance = (errors * counted).sum() / counted.sum().clamp(min=1)
        spreads = [covariances(z, counted) for z in (first, second)]
        variance = torch.stack([variance_term(c) for c in spreads]).sum()
        covariance = torch.stack([covariance_term(c) for c in spreads]).sum()
        loss = config.gamma * invariance + config.mu * variance + config.nu * covariance
    return VICRegTerms(loss, invariance.detach(), variance.detach(), covariance.detach())


def covariances(embedding: Tensor, counted: Tensor) -> Tensor:
    """(N, D), (N,) 0 or 1 → (D, D), unbiased (N − 1), over the rows that count."""
    rows, z = counted.sum(), embedding.float()
    mean = (z * counted[:, None]).sum(0) / rows.clamp(min=1)
    centred = (z - mean) * counted[:, None]
    return centred.T @ centred / (rows - 1).clamp(min=1)


def variance_term(covariance: Tensor) -> Tensor:
    """v: mean over D of max(0, 1 − standard deviation), from (D, D) covariances."""
    return (1 - (covariance.diagonal() + VARIANCE_EPSILON).sqrt()).clamp(min=0).mean()


def covariance_term(covariance: Tensor) -> Tensor:
    """c: sum of the squares off the diagonal, divided by D."""
    return (covariance - covariance.diagonal().diag()).square().sum() / len(covariance)
