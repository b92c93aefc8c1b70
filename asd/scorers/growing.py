"""New points for a bank of few clips, each made from a clip of it.

Legend: m new points, n clips of the bank, D embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from asd.scorers.distance import Metric, Rows, metric_space, neighbours

NEIGHBOURS = 2  # of a clip, of which one is the other end of a new point's line
OWN_SHARE = 0.9  # of a target clip in its mixtures with source clips


class Points(NamedTuple):
    """Embeddings (m, D) float32 in a metric's space, and the row (m,) of the bank that each was made from."""

    embedding: Tensor
    origin: Tensor


def smote(bank: Tensor, count: int, metric: Metric) -> Points:
    """Points between neighbours (Chawla et al. 2002) that fill a bank (n, D) up to `count`; the same at every call.

    One lies anywhere on the line from a row to one of its two nearest. One row alone has no neighbour.
    """
    rows, more = metric_space(bank, metric), count - len(bank)
    if more <= 0 or len(bank) < 2:
        return Points(bank[:0], torch.empty(0, dtype=torch.int64))
    mates = _nearest_rows(rows, rows, NEIGHBOURS, metric, itself=False)
    mates = mates[:, : len(rows) - 1]  # of two rows the second nearest is the row itself
    random = torch.Generator().manual_seed(0)
    begin = torch.randint(len(rows), (more,), generator=random)
    end = mates[begin, torch.randint(mates.shape[1], (more,), generator=random)]
    share = torch.rand(more, 1, generator=random, dtype=torch.float64)
    points = rows[begin] + share * (rows[end] - rows[begin])
    return Points(points.float(), begin)


def mem_mixup(target: Tensor, source: Tensor, k: int, metric: Metric) -> Points:
    """Of each row of a target bank (n, D) and each of its k nearest source rows: 0.9 of the one, 0.1 of the other.

    MemMixup of GenRep (Saengthong and Shinozaki 2024, arXiv 2409.05035), there of all source clips of a machine, 990.
    """
    rows, others = metric_space(target, metric), metric_space(source, metric)
    mates = _nearest_rows(rows, others, k, metric)
    origin = torch.arange(len(rows)).repeat_interleave(mates.shape[1])
    points = OWN_SHARE * rows[origin] + (1 - OWN_SHARE) * others[mates.flatten()]
    return Points(points.float(), origin)


def _nearest_rows(query: Tensor, bank: Tensor, k: int, metric: Metric, itself: bool = True) -> Tensor:
    """Indices (n, k) of the nearest rows of the bank; itself: whether a query's own index may be among them."""
    apart = torch.arange(len(query))
    known = Rows(bank, torch.full((len(bank),), -1) if itself else torch.arange(len(bank)))
    return neighbours(Rows(query, apart), known, k, metric)[1]
