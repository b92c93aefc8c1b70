"""Scorers at many settings, and what they give for embeddings."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from asd.scorers import (
    DomainKnnConfig,
    EmbeddingTable,
    GmmConfig,
    LocalKnnConfig,
    LofConfig,
    MahalanobisConfig,
    NegLogSoftmaxConfig,
    ScorerConfig,
    build_scorer,
)
from asd.scorers.residuals import ResidualMoments, group_of
from tests.support.embedded import embedded_of

NUM_CLASSES = 3


def random_clips(count: int, seed: int) -> EmbeddingTable:
    """Clips of which no two seeds have the same. The residual of a clip is one vector, its embedding."""
    generator = torch.Generator().manual_seed(seed)
    clips = embedded_of(
        clip_index=10_000 * seed + torch.randperm(count, generator=generator),
        class_index=torch.randint(NUM_CLASSES, (count,), generator=generator),
        embedding=torch.randn(count, 6, generator=generator) + 1.0,
        logits=3 * torch.randn(count, NUM_CLASSES, generator=generator),
        features=20 * torch.randn(count, 8, generator=generator) - 40,
        errors=torch.rand(count, 3, generator=generator),
    )
    residuals = ResidualMoments.zeros(NUM_CLASSES, 6, torch.device("cpu"))
    residuals.add(clips.embedding[:, None], group_of(clips.class_index, clips.domain), torch.ones(count).bool())
    return dataclasses.replace(clips, residuals=residuals, faults=torch.randn(count, NUM_CLASSES, generator=generator))


TRAIN, TEST = random_clips(60, 0), random_clips(40, 1)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def recorded(recordings: int, clips_each: int, seed: int, first: int = 0, windows: int = 2) -> EmbeddingTable:
    """Clips of two classes with two windows each; those of a recording lie close together."""
    random = torch.Generator().manual_seed(seed)
    clip = torch.arange(2 * recordings * clips_each).repeat_interleave(windows)
    recording = clip // clips_each * clips_each
    place = 3.0 * torch.randn(2 * recordings, 5, generator=random)
    embedding = place[clip // clips_each] + 0.1 * torch.randn(len(clip), 5, generator=random)
    made = embedded_of(
        embedding,
        class_index=clip // (recordings * clips_each),
        clip_index=first + clip,
        domain=torch.randint(3, (len(clip),), generator=random),
        features=10 * embedding[clip * windows],
    )
    return dataclasses.replace(made, recording=first + recording)


def fitted_scores(config: ScorerConfig, train: EmbeddingTable = TRAIN, test: EmbeddingTable = TEST) -> np.ndarray:
    scorer = build_scorer(config)
    scorer.fit(train)
    return scorer.score(test)


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
