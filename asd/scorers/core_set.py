"""A few clips that stand for many. Legend: N clips, D numbers of each, n chosen ones.

Greedy (Gonzalez 1985; Sener and Savarese 2018): always the clip that is farthest from all that are chosen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asd.scorers.distance import Rows, nearest, neighbours, relative_zero

_ROUND = 1024  # rows that are chosen at once, out of so many times as many that are far
_CANDIDATES = 4


def k_centre(rows: Tensor, count: int, first: Tensor | None = None) -> Tensor:
    """Indices (n,) ascending of at most `count` rows (N, D), so that the farthest row of all is near to one of them.

    The first is the row nearest to the mean. At most twice as far as the best choice. first: (k,) indices of rows that
    are chosen in any case, of which the last `count` are.
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


def core_set(rows: Tensor, count: int, k: int = 1) -> tuple[Tensor, float]:
    """The same of very many rows (N, D) float64, in rounds, at the speed of matrix products: indices (n,) ascending,
    and the distance within which every row has k of those.

    A round doubles the chosen rows, by 1,024 at most, with farthest ones that are also far from each other. A chosen
    row is among its own k; of equal rows one is chosen.
    """
    new = chosen = (rows - rows.mean(0)).square().sum(1).argmin(0, keepdim=True)
    distance, zero = torch.empty(len(rows), 0, dtype=torch.float64), relative_zero(rows)
    while len(new):
        own, _ = neighbours(_apart(rows, 0), _apart(rows[new], 1), k, "euclidean")
        distance, _ = nearest(torch.cat([distance, own], dim=1), k)
        more = min(len(chosen), _ROUND, count - len(chosen))
        far = distance[:, 0].topk(min(_CANDIDATES * more, len(rows)))
        new = far.indices[_far_apart(rows[far.indices], far.values, more, zero)]
        chosen = torch.cat([chosen, new])
    return chosen.sort().values, float(distance[:, -1].max())


def _apart(rows: Tensor, group: int) -> Rows:
    return Rows(rows, torch.full((len(rows),), group))


def _far_apart(rows: Tensor, distance: Tensor, count: int, zero: float) -> Tensor:
    """Places (n,) of at most `count` rows (N, D), each the farthest from what was chosen before, which is at these
    distances (N,), and from those before it."""
    between = torch.cdist(rows, rows)
    found: list[int] = []
    while len(found) < count and float(distance.max()) > zero:
        found.append(int(distance.argmax()))
        distance = torch.minimum(distance, between[found[-1]])
    return torch.tensor(found, dtype=torch.int64)


def standardised(rows: Tensor) -> Tensor:
    """(N, D) float64 with mean 0 and standard deviation 1 in each column, those of D columns adding up to 1; columns
    that do not differ are 0."""
    rows = rows.double()
    if not rows.shape[1]:
        return rows
    spread = rows.std(0, correction=0)
    unit = torch.where(spread > 0, (rows - rows.mean(0)) / spread, 0.0)
    return unit / rows.shape[1] ** 0.5
