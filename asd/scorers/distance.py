"""Distances between embeddings, a block of them at a time. Legend: N queries, n rows of the bank, D embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from asd.scorers.embeddings import EmbeddingTable

_ROWS = 1024  # queries per matmul: 1024 x 1000 distances are 8 MB
_WHOLE = 8192  # rows of a bank that are compared with at once; of more, these in turn, which stay in the cache
_PART = 1024
IN_TURN = 10  # recordings of a class, up to which one changes the densities of all others too much to count in them
_GROUP = 8  # columns that are looked at together

Metric = Literal["cosine", "euclidean"]
Space = Literal["unit", "raw"]


def in_space(embedding: Tensor, space: Space) -> Tensor:
    """Embeddings (N, D) as float64: on the unit sphere, or as the network gave them."""
    return normalize(embedding.double(), dim=1) if space == "unit" else embedding.double()


def metric_space(embedding: Tensor, metric: Metric) -> Tensor:
    """Embeddings (N, D) as the metric wants them: float64, unit rows for cosine."""
    return in_space(embedding, "unit" if metric == "cosine" else "raw")


class Rows(NamedTuple):
    """Embeddings (n, D) as a metric wants them, and the group (n,) of each, which it is not compared with."""

    space: Tensor
    group: Tensor


def rows_of(clips: EmbeddingTable, metric: Metric, apart: Literal["recording", "clip_index"] = "recording") -> Rows:
    """The rows of clips in a metric's space, none to be compared with others of its recording, or of its clip alone."""
    return Rows(metric_space(clips.embedding, metric), getattr(clips, apart))


def neighbours(
    query: Rows, bank: Rows, k: int, metric: Metric, adjusted: Callable[[Tensor, slice], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Distances and indices of each query's k nearest rows of the bank, or of as many as there are, (N, k) each,
    nearest first; infinite those to rows of its own group. What is in memory does not grow with the bank.

    adjusted: what becomes of the distances (≤ 1024, m) to m rows of the bank, which a slice names, before the nearest
    are chosen.
    """
    size = len(bank.space)
    step = size if size <= _WHOLE or torch.compiler.is_exporting() else _PART
    found: tuple[Tensor, Tensor] | None = None
    for first in range(0, size, step):
        part = slice(first, first + step)
        blocks = distance_blocks(query, Rows(bank.space[part], bank.group[part]), metric)
        own = [nearest(block if adjusted is None else adjusted(block, part), k) for block in blocks]
        values, indices = (torch.cat(column) for column in zip(*own, strict=True))
        found = (values, indices) if found is None else _nearer(found, (values, indices + first), k)
    assert found is not None
    return found


def _nearer(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    values, place = nearest(torch.cat([one[0], other[0]], dim=1), k)
    return values, torch.cat([one[1], other[1]], dim=1).gather(1, place)


def distance_blocks(query: Rows, bank: Rows, metric: Metric) -> Iterator[Tensor]:
    """Distances of N queries to n rows of the bank in blocks (≤ 1024, n), queries in order; infinite to rows of the
    query's own group, so that a training clip can be scored like one of a recording that was never seen.

    Float64: in float32 a² + b² - 2ab of two close embeddings is mostly rounding.
    """
    distances = _cosine if metric == "cosine" else _euclidean
    # a tenth of the time of torch.isin; a trace is of values that are not known
    known = torch.compiler.is_exporting() or not set(query.group.tolist()).isdisjoint(bank.group.tolist())
    for space, group in zip(query.space.split(_ROWS), query.group.split(_ROWS), strict=True):
        block = distances(space, bank.space)
        yield block.masked_fill_(group[:, None] == bank.group, torch.inf) if known else block


def nearest(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances and indices of the k nearest (or as many as there are), (N, k) each, nearest first."""
    columns = block.shape[1]
    if k == 1:  # half the time of topk
        values, indices = block.min(dim=1, keepdim=True)
        return values, indices
    if 2 * _GROUP * k <= columns < 64 * k:  # where torch's topk leaves its heap for a slower way
        return _nearest_by_groups(block, k)
    found = block.topk(min(k, columns), dim=1, largest=False)
    return found.values, found.indices


def _nearest_by_groups(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The same in half the time: the k smallest of a row all lie in the k groups of columns with the smallest minima,
    or in the columns left over."""
    rows, columns = block.shape
    whole = columns - columns % _GROUP
    minima = block[:, :whole].unflatten(1, (-1, _GROUP)).amin(dim=2)
    groups = minima.topk(k, dim=1, largest=False, sorted=False).indices
    within = (groups[:, :, None] * _GROUP + torch.arange(_GROUP)).flatten(1)
    candidates = torch.cat([within, torch.arange(whole, columns).expand(rows, -1)], dim=1)
    found = block.gather(1, candidates).topk(k, dim=1, largest=False)
    return found.values, candidates.gather(1, found.indices)


def mean_of_finite(distances: Tensor) -> Tensor:
    """Mean (N,) over the finite ones of (N, k); nan where there are none: a class of that one clip."""
    finite = distances.isfinite()
    return torch.where(finite, distances, 0.0).sum(dim=1) / finite.sum(dim=1)


def resolution(bank: Tensor, metric: Metric) -> float:
    """The distance below which rows of the bank count as equal: an angle of 1e-6, about what float32 tells apart."""
    return 1e-12 if metric == "cosine" else relative_zero(bank)


def relative_zero(rows: Tensor) -> float:
    """A millionth of the typical length of rows (n, D); never 0."""
    return max(1e-6 * float(rows.square().sum(dim=1).mean().sqrt()), 1e-30)


# In one matmul and in place: a block is larger than the cache, and each pass over it costs a tenth of the matmul.


def _cosine(query: Tensor, bank: Tensor) -> Tensor:
    return torch.addmm(query.new_ones(1), query, bank.T, alpha=-1.0)


def _euclidean(query: Tensor, bank: Tensor) -> Tensor:
    square = torch.addmm(bank.square().sum(dim=1), query, bank.T, alpha=-2.0)
    return square.add_(query.square().sum(dim=1, keepdim=True)).clamp_min_(0.0).sqrt_()
