"""Scorers beside faiss, metrics beside scikit-learn, on the same made-up embeddings and threads.

Legend: N clips, D embedding. Everything compares a test clip with the training clips of its own class alone.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits
from torch.nn.functional import normalize

from asd.metrics import PAUC_MAX_FPR, auc, partial_auc
from asd.scorers import (
    EmbeddingTable,
    KnnConfig,
    MahalanobisConfig,
    ReconstructionConfig,
    ScorerConfig,
    UntrainedKnnConfig,
    build_scorer,
)
from benchmarks.speed.evaluation_set import Clips

FAISS = importlib.util.find_spec("faiss") is not None
SLOW = ("gmm", "lof")  # scorers that the goal leaves out
SCORERS: tuple[ScorerConfig, ...] = (
    *(kind() for kind in get_args(get_args(ScorerConfig)[0])),  # every one there is, at its defaults
    ReconstructionConfig(summary="median"),
    ReconstructionConfig(summary="std"),
    KnnConfig(k=10),
    KnnConfig(metric="euclidean"),
    MahalanobisConfig(space="raw"),
    UntrainedKnnConfig(level="normalised"),
)

Scores = np.ndarray
Pairs = list[tuple[float, float]]  # AUC, pAUC of every class


def ours(config: ScorerConfig, clips: Clips) -> Scores:
    """Fit and score."""
    scorer = build_scorer(config)
    scorer.fit(clips.fit)
    return scorer.score(clips.test)


def has_peer(config: ScorerConfig) -> bool:
    """Whether faiss is here and gives the same scores."""
    return FAISS and isinstance(config, KnnConfig) and config.metric == "cosine"


def by_faiss(config: KnnConfig, clips: Clips) -> Scores:
    """Mean cosine distance to the nearest training clips of the class."""
    import faiss

    found = np.empty(len(clips.test))
    train = clips.fit.rows_by_class()
    for own, rows in clips.test.rows_by_class().items():
        bank, query = _unit(clips.fit, train[own]), _unit(clips.test, rows)
        index = faiss.IndexFlatIP(bank.shape[1])
        index.add(bank)
        found[rows.numpy()] = 1.0 - index.search(query, min(config.k, len(bank)))[0].mean(axis=1)
    return found


def _unit(clips: EmbeddingTable, rows: torch.Tensor) -> np.ndarray:
    """(N, D) float32 rows of length 1."""
    return normalize(clips.embedding.index_select(0, rows), dim=1).numpy()


def seconds(function: Callable[[], Any], threads: int) -> float:
    """Of one call on so many threads of torch, BLAS and faiss."""
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        begin = time.perf_counter()
        function()
        return time.perf_counter() - begin


def our_aucs(clips: Clips, scores: Scores) -> Pairs:
    """AUC and pAUC of every class."""
    return [(auc(label, own), partial_auc(label, own)) for label, own in _labelled(clips, scores)]


def sklearn_aucs(clips: Clips, scores: Scores) -> Pairs:
    return [
        (roc_auc_score(label, own), roc_auc_score(label, own, max_fpr=PAUC_MAX_FPR))
        for label, own in _labelled(clips, scores)
    ]


def _labelled(clips: Clips, scores: Scores) -> Iterator[tuple[np.ndarray, Scores]]:
    label = clips.manifest.label[clips.test.clip_index.numpy()]
    for rows in clips.test.rows_by_class().values():
        yield label[rows.numpy()], scores[rows.numpy()]
