"""Distances between embeddings, a block of rows at a time. Legend: N queries, n rows of the bank, D embedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

_ROWS = 1024  # queries per matmul: 1024 x 1000 distances are 8 MB

Metric = Literal["cosine", "euclidean"]
Space = Literal["unit", "raw"]


def in_space(embedding: Tensor, space: Space) -> Tensor:
    """Embeddings (N, D) as float64: on the unit sphere, or as the network gave them."""
    return normalize(embedding.double(), dim=1) if space == "unit" else embedding.double()


def metric_space(embedding: Tensor, metric: Metric) -> Tensor:
    """Embeddings (N, D) as the metric wants them: float64, unit rows for cosine."""
    return in_space(embedding, "unit" if metric == "cosine" else "raw")


def distance_blocks(query: Tensor, bank: Tensor, metric: Metric) -> Iterator[Tensor]:
    """Distances of query (N, D) to bank (n, D) in blocks (≤ 1024, n), queries in order; both of `metric_space`.

    Float64: in float32 a² + b² - 2ab of two close embeddings is mostly rounding.
    """
    distances = _cosine if metric == "cosine" else _euclidean
    return (distances(rows, bank) for rows in query.split(_ROWS))


def other_distance_blocks(bank: Tensor, metric: Metric) -> Iterator[Tensor]:
    """The same from each row of the bank to all rows, infinite to itself."""
    first = 0
    for block in distance_blocks(bank, bank, metric):
        block.diagonal(first).fill_(torch.inf)
        first += len(block)
        yield block


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
