"""A short embedding behind a network whose pooled maps are long. Legend: B batch, D embedding."""

from __future__ import annotations

from torch import nn

from asd.backbones.norms import NormKind, norm1d


def projection(features: int, embedding: int | None, norm: NormKind) -> tuple[nn.Module, int]:
    """(B, features) → (B, D) by a linear layer and normalisation, and D; nothing at all where embedding is None."""
    if embedding is None:
        return nn.Identity(), features
    return nn.Sequential(nn.Linear(features, embedding, bias=False), norm1d(norm, embedding)), embedding
