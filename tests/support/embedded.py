"""EmbeddingTable clips with the columns that a test names; the others hold what is usual."""

from __future__ import annotations

import torch
from torch import Tensor

from asd.scorers import EmbeddingTable


def embedded_of(
    embedding: Tensor,
    class_index: Tensor | None = None,
    clip_index: Tensor | None = None,
    logits: Tensor | None = None,
    features: Tensor | None = None,
    domain: Tensor | None = None,
    errors: Tensor | None = None,
) -> EmbeddingTable:
    """Rows (N, D) of class 0, without domain or errors, with clip indices from 0, unless told otherwise."""
    rows = len(embedding)
    zeros = torch.zeros(rows, dtype=torch.int64)
    return EmbeddingTable(
        clip_index=torch.arange(rows) if clip_index is None else clip_index,
        class_index=zeros if class_index is None else class_index,
        domain=zeros if domain is None else domain,
        embedding=embedding,
        logits=torch.zeros(rows, 2) if logits is None else logits,
        errors=torch.empty(rows, 0) if errors is None else errors,
        features=torch.zeros(rows, 3) if features is None else features,
    )
