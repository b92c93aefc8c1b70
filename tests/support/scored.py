"""Scorers at many settings, and what they give for embeddings."""

import torch
from test_scorers import NUM_CLASSES

from asd.scorers import (
    DomainKnnConfig,
    EmbeddingTable,
    GmmConfig,
    LocalKnnConfig,
    LofConfig,
    MahalanobisConfig,
    NegLogSoftmaxConfig,
)
from tests.support.embedded import embedded_of

CONFIGS = [
    NegLogSoftmaxConfig(),
    NegLogSoftmaxConfig(margin=0.7, scale=30),
    LocalKnnConfig(),
    LocalKnnConfig(k=3, normalisation="difference"),
    LocalKnnConfig(metric="euclidean", density_k=50),
    LocalKnnConfig(density_k=8, cluster_exit=90),
    DomainKnnConfig(density="mean", nearer="z_score"),
    LofConfig(),
    LofConfig(k=5, metric="euclidean"),
    MahalanobisConfig(),
    MahalanobisConfig(shrinkage=0.2, space="raw"),
    GmmConfig(),
    GmmConfig(components=3, covariance="full"),
    GmmConfig(covariance="tied", space="raw"),
    GmmConfig(components=1, covariance="full", pca=3),
]


def one_class(embedding: torch.Tensor, first: int = 0) -> EmbeddingTable:
    """Clips of one class, with indices from `first`."""
    count = len(embedding)
    logits = torch.zeros(count, NUM_CLASSES)
    clip_index = first + torch.arange(count)
    return embedded_of(embedding, clip_index=clip_index, logits=logits, features=torch.ones(count, 4))


def others(embedding: torch.Tensor) -> EmbeddingTable:
    """Clips of that class with other indices."""
    return one_class(embedding, first=1_000_000)
