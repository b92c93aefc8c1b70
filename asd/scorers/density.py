"""How far the training clips of a class lie from each other around each of them: what a distance means there.

Cluster exit (Wilkinghoff, Wichern, Le Roux, Tan 2026, arXiv 2602.18777) keeps a neighbourhood from growing across the
edge of a cluster. Its abstract speaks of discontinuities of the sorted distances and of a fixed percentile; the formula
here is ours: with the distances d_1 ≤ … ≤ d_K of a clip to its neighbours and τ the given percentile of all steps
d_(j+1) − d_j of the bank, the clip keeps its first j neighbours, j the least with d_(j+1) − d_j > τ, or all K.

Legend: n rows of a bank, K neighbours.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from asd.scorers.distance import Metric, Rows, mean_of_finite, neighbours, resolution

Summary = Literal["mean", "sum"]


def local_density(
    bank: Rows, k: int, metric: Metric, summary: Summary = "mean", cluster_exit: float | None = None
) -> Tensor | None:
    """(n,) float64: mean or sum of each row's distances to its k nearest rows of other groups, or to as many as there
    are; never 0. None where no two rows differ: there is no density to speak of.

    cluster_exit: percentile of the steps, above which one is an exit; None: all k count.
    """
    zero = resolution(bank.space, metric)
    found, _ = neighbours(bank, bank, k, metric)
    if cluster_exit is not None:
        found = within_cluster(found, cluster_exit)
    density = mean_of_finite(found).nan_to_num()
    if density.max() <= zero:
        return None
    density = density.clamp_min(zero)
    return density if summary == "mean" else density * found.isfinite().sum(dim=1).clamp_min(1)


def within_cluster(distances: Tensor, percent: float) -> Tensor:
    """Ascending distances (n, K), those behind a row's first step above the percentile of all steps made infinite."""
    steps = distances.diff(dim=1)
    known = steps[steps.isfinite()]
    if not len(known):
        return distances
    out = (steps > known.quantile(percent / 100)).cumsum(dim=1) > 0
    return torch.cat([distances[:, :1], distances[:, 1:].masked_fill(out, torch.inf)], dim=1)
