"""A few clips that stand for many. Legend: N clips, D numbers of each, n chosen ones."""

from __future__ import annotations

import torch
from torch import Tensor


def k_centre(rows: Tensor, count: int, first: Tensor | None = None) -> Tensor:
    """Indices (n,) ascending of at most `count` rows (N, D), so that the farthest row of all is near to one of them.

    Greedy (Gonzalez 1985; Sener and Savarese 2018): the row nearest to the mean, then always the one farthest from all
    that are chosen. At most twice as far as the best choice. first: (k,) indices of rows that are chosen in any case,
    of which the last `count` are.
    """
    if len(rows) <= count:
        return torch.arange(len(rows))
    rows = rows.double()
    nearest = (rows - rows.mean(0)).square().sum(1).argmin(0, keepdim=True)
    chosen = (nearest if first is None or not len(first) else first[-count:]).tolist()
    distance = torch.full((len(rows),), torch.inf, dtype=torch.float64)
    for one in chosen[:-1]:
        distance = torch.minimum(distance, (rows - rows[one]).square().sum(1))
    while len(chosen) < count:
        distance = torch.minimum(distance, (rows - rows[chosen[-1]]).square().sum(1))
        chosen.append(int(distance.argmax()))
    return torch.tensor(sorted(set(chosen)), dtype=torch.int64)


def standardised(rows: Tensor) -> Tensor:
    """(N, D) float64 with mean 0 and standard deviation 1 in each column, those of D columns adding up to 1; columns
    that do not differ are 0."""
    rows = rows.double()
    spread = rows.std(0, correction=0)
    unit = torch.where(spread > 0, (rows - rows.mean(0)) / spread, 0.0)
    return unit / max(rows.shape[1], 1) ** 0.5
