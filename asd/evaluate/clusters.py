"""Clusters of embeddings, by a mixture of Gaussians whose number is found or by Ward's method, as the public code of
Fujimura et al. (TakuyaFujimura/unlabeledasd) makes pseudo-labels. Legend: n rows, D embedding, P axes, K clusters.

They have a thousand clips a machine. Of forty, a covariance of many axes is mostly chance, and BIC then takes many
small clusters for true ones: there are as many axes, and at most as many clusters, as the clips support.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asd.data.manifest import Manifest
from asd.data.proxy import NO_CLUSTER, Classes
from asd.data.pseudo_labels import PseudoLabelsConfig, groups_to_cluster
from asd.scorers.distance import relative_zero
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.gmm import GmmConfig, Mixture, fit_mixture, principal_axes

CLIPS_PER_AXIS = 10
CLIPS_PER_CLUSTER = 5  # of Ward's, on average
TOLERANCE = 1e-3  # of the mean log-likelihood per axis, a smaller change of which ends a fit
REGULARISATION = 0.01  # added to every variance, in units of the mean variance along the axes


def cluster_clips(
    found: EmbeddingTable, manifest: Manifest, classes: Classes, held_out: np.ndarray, config: PseudoLabelsConfig
) -> np.ndarray:
    """(clips of the set,) int32: the cluster of each clip of `groups_to_cluster` among those of its group, NO_CLUSTER
    of all others.

    found: embeddings of these clips, one that could not be read excepted, which has cluster 0 like a group without any
    that could. held_out: clips that no cluster is found by.
    """
    found = found.per_clip()
    clusters = np.full(len(manifest), NO_CLUSTER, dtype=np.int32)
    for (_, domain), clips in groups_to_cluster(manifest, classes).items():
        clusters[clips] = 0
        rows = torch.isin(found.clip_index, torch.from_numpy(clips.astype(np.int64)))
        index = found.clip_index[rows].numpy()
        fitted = torch.from_numpy(~np.isin(index, held_out))
        if fitted.any():
            clusters[index] = cluster(found.embedding[rows].double(), fitted, domain == "target", config).numpy()
    return clusters


def cluster(rows: Tensor, fitted: Tensor, is_target: bool, config: PseudoLabelsConfig) -> Tensor:
    """(n,) int64, the cluster of each row (n, D) float64 of one machine and domain.

    fitted: (n,) bool, rows that clusters are found by, one or more. Clusters are numbered in the order of the first of
    these rows that they have; none is without one.
    """
    most = config.max_target_clusters if is_target else config.max_clusters
    train = rows[fitted]
    centred = rows - train.mean(0)
    if float(centred[fitted].norm(dim=1).square().mean().sqrt()) <= relative_zero(train):
        return torch.zeros(len(rows), dtype=torch.int64)
    projected = centred @ principal_axes(
        centred[fitted], min(config.max_dimensions, max(len(train) // CLIPS_PER_AXIS, 1))
    )
    projected = projected / projected[fitted].square().mean().sqrt()
    nearness = (_by_ward if config.by == "ward" else _by_mixture)(projected, fitted, most, config.seed)  # (n, K)
    first = {own: row for row, own in reversed([*enumerate(nearness[fitted].argmax(1).tolist())])}
    return nearness[:, sorted(first, key=first.__getitem__)].argmax(1)


def _by_mixture(rows: Tensor, fitted: Tensor, most: int, seed: int) -> Tensor:
    """(n, K), log-likelihood of rows (n, P) in each Gaussian of the mixture of the least BIC of the fitted ones."""
    train = rows[fitted]
    count, axes = train.shape
    mixtures = [
        fit_mixture(
            train, GmmConfig(components=k, covariance="full", regularisation=REGULARISATION, seed=seed), TOLERANCE
        )
        for k in range(1, max(min(most, count // (2 * (axes + 1))), 1) + 1)
    ]
    return min(mixtures, key=lambda mixture: _criterion(mixture, train)).log_joint(rows)


def _criterion(mixture: Mixture, rows: Tensor) -> float:
    """BIC: numbers of the mixture · ln n − 2 · log-likelihood."""
    count, axes = rows.shape
    numbers = len(mixture.mean) * (1 + axes + axes * (axes + 1) // 2) - 1
    return numbers * math.log(count) - 2 * float(mixture.log_joint(rows).logsumexp(1).sum())


def _by_ward(rows: Tensor, fitted: Tensor, most: int, _: int) -> Tensor:
    """(n, K), 1 in the column of a fitted row's cluster; of the other rows (n, P), how near its mean is."""
    from sklearn.cluster import AgglomerativeClustering  # here: half a second to import

    train = rows[fitted]
    count = max(min(most, len(train) // CLIPS_PER_CLUSTER), 1)
    if count == 1:
        return rows.new_zeros(len(rows), 1)
    labels = torch.from_numpy(AgglomerativeClustering(count).fit_predict(train.numpy()))
    nearness = -torch.cdist(rows, torch.stack([train[labels == own].mean(0) for own in range(count)]))
    nearness[fitted] = F.one_hot(labels, count).to(nearness)
    return nearness
