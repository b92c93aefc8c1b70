"""Distances between embeddings, a block of rows at a time. Legend: N queries, n rows of the bank, D embedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from asd.scorers.embedded import Embedded

_ROWS = 1024  # queries per matmul: 1024 x 1000 distances are 8 MB

Metric = Literal["cosine", "euclidean"]
Space = Literal["unit", "raw"]


def in_space(embedding: Tensor, space: Space) -> Tensor:
    """Embeddings (N, D) as float64: on the unit sphere, or as the network gave them."""
    return normalize(embedding.double(), dim=1) if space == "unit" else embedding.double()


def metric_space(embedding: Tensor, metric: Metric) -> Tensor:
    """Embeddings (N, D) as the metric wants them: float64, unit rows for cosine."""
    return in_space(embedding, "unit" if metric == "cosine" else "raw")


class Rows(NamedTuple):
    """Embeddings (n, D) as a metric wants them, and the clip (n,) that each is of."""

    space: Tensor
    clip: Tensor


def rows_of(clips: Embedded, metric: Metric) -> Rows:
    """The rows of clips in a metric's space."""
    return Rows(metric_space(clips.embedding, metric), clips.clip_index)


def distance_blocks(query: Rows, bank: Rows, metric: Metric) -> Iterator[Tensor]:
    """Distances of N queries to n rows of the bank in blocks (≤ 1024, n), queries in order; infinite to rows of the
    query's own clip, so that a training clip can be scored like one that was never seen.

    Float64: in float32 a² + b² - 2ab of two close embeddings is mostly rounding.
    """
    distances = _cosine if metric == "cosine" else _euclidean
    known = bool(torch.isin(query.clip, bank.clip).any())
    for space, clip in zip(query.space.split(_ROWS), query.clip.split(_ROWS), strict=True):
        block = distances(space, bank.space)
        yield block.masked_fill_(clip[:, None] == bank.clip, torch.inf) if known else block


def nearest(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances and indices of the k nearest (or as many as there are), (N, k) each, nearest first."""
    found = block.topk(min(k, block.shape[1]), dim=1, largest=False)
    return found.values, found.indices


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


def _cosine(query: Tensor, bank: Tensor) -> Tensor:
    return 1.0 - query @ bank.T


def _euclidean(query: Tensor, bank: Tensor) -> Tensor:
    square = query.square().sum(dim=1, keepdim=True) + bank.square().sum(dim=1) - 2.0 * query @ bank.T
    return square.clamp_min(0.0).sqrt()
