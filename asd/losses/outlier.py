"""Proxy outliers (Primus et al. 2021), clips on which a classifier should be undecided. B batch, C classes."""

from __future__ import annotations

from torch import Tensor


def uniform_cross_entropy(logits: Tensor) -> Tensor:
    """(B, C) → (B,) nats: cross-entropy of the softmax to the uniform posterior, log C at its least."""
    return -logits.float().log_softmax(1).mean(1)
