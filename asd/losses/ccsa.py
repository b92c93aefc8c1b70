"""Classification and contrastive semantic alignment (CCSA, Motiian et al. 2017) of two domains, as S3 fine-tunes.

Legend: S clips of the source domain, T of the target domain, D values of an embedding or of a flattened map.
"""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor

# Below this squared distance the root's gradient, 1 / 2d, is cut off: equal embeddings push nowhere, finitely.
MIN_SQUARE = 1e-12

Divisor = Literal["all", "pairs"]


class CCSAConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """L = da_lambda·L_task + (1 − da_lambda)·L_CCSA; at 1 (the published command) alignment is off."""

    margin: pydantic.PositiveFloat = 0.5  # distance from which different classes leave each other alone
    compare: Literal["pooled", "maps"] = "pooled"  # maps: un-pooled, position by position, as the published code
    da_lambda: float = pydantic.Field(0.9, ge=0, le=1)  # weight of the task's own loss
    # what both sums are divided by. all: the number of pairs of both kinds together, as the published code; pairs: each
    # by that of its own kind, a mean, which of six balanced classes is 6 (semantic) and 1.2 (contrastive) times that
    divisor: Divisor = "all"


def ccsa_terms(
    source: Tensor,
    target: Tensor,
    source_classes: Tensor,
    target_classes: Tensor,
    margin: float,
    counted: Tensor | None = None,
    divisor: Divisor = "all",
) -> tuple[Tensor, Tensor]:
    """(semantic, contrastive), two scalars.

    semantic: sum of d² over the pairs of one class; contrastive: sum of max(0, margin − d)² over the pairs of two; each
    divided as `divisor` says (CCSAConfig), 0 where there is no such pair. counted (S, T) leaves pairs out, such as
    those with a clip that could not be read.
    """
    squared = squared_distances(source, target)
    distance = squared.clamp(min=MIN_SQUARE).sqrt()
    same = source_classes[:, None] == target_classes
    counted = torch.ones_like(same) if counted is None else counted
    kinds = ((squared, same & counted), ((margin - distance).clamp(min=0).square(), ~same & counted))
    semantic, contrastive = (_divided(values * own, counted if divisor == "all" else own) for values, own in kinds)
    return semantic, contrastive


def squared_distances(source: Tensor, target: Tensor) -> Tensor:
    """(S, …) and (T, …) → (S, T) float32, mean squared difference over all entries.

    |a|² + |b|² − 2ab cancels for near pairs: in float64 d is then off by 1e-7 where float32 is off by 1e-3, and no
    (S, T, D) differences of whole maps need be held.
    """
    with torch.autocast(source.device.type, enabled=False):
        a, b = source.flatten(1).double(), target.flatten(1).double()
        squared = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * (a @ b.T)
        return (squared / a.shape[1]).clamp(min=0).float()


def _divided(values: Tensor, counted: Tensor) -> Tensor:
    """Their sum by how many are counted, 0 where none is; not read from the device."""
    return values.sum() / counted.sum().clamp(min=1)
