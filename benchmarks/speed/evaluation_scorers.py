"""Scorers and metrics on made-up embeddings, beside faiss and scikit-learn on the same numbers and threads.

Legend: N clips, D embedding. Everything compares a test clip with the training clips of its own class alone.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from threadpoolctl import threadpool_limits
from torch.nn.functional import normalize

from asd.metrics import PAUC_MAX_FPR, both_aucs
from asd.scorers import (
    CentroidConfig,
    Embedded,
    GmmConfig,
    KnnConfig,
    LocalKnnConfig,
    LofConfig,
    LogOddsConfig,
    MahalanobisConfig,
    NegLogSoftmaxConfig,
    ReconstructionConfig,
    ScorerConfig,
    SelectiveMahalanobisConfig,
    SoftmaxConfig,
    UntrainedKnnConfig,
    build_scorer,
)
from benchmarks.speed.evaluation_set import Clips

FAISS = importlib.util.find_spec("faiss") is not None
SLOW = ("gmm", "lof")  # scorers that the goal leaves out
SCORERS: tuple[ScorerConfig, ...] = (
    SoftmaxConfig(),
    NegLogSoftmaxConfig(),
    LogOddsConfig(),
    ReconstructionConfig(),
    ReconstructionConfig(summary="median"),
    ReconstructionConfig(summary="std"),
    CentroidConfig(),
    KnnConfig(),
    KnnConfig(k=10),
    KnnConfig(metric="euclidean"),
    LocalKnnConfig(),
    MahalanobisConfig(),
    MahalanobisConfig(space="raw"),
    SelectiveMahalanobisConfig(),
    UntrainedKnnConfig(),
    UntrainedKnnConfig(level="normalised"),
    GmmConfig(),
    LofConfig(),
)  # every one there is, at the settings of the configs and at the defaults
NEIGHBOURS = (KnnConfig(), KnnConfig(k=10))

Scores = np.ndarray
Pairs = list[tuple[float, float]]  # AUC, pAUC of every class
SideBySide = Callable[[], Scores]


def ours(config: ScorerConfig, clips: Clips) -> Scores:
    """Fit and score."""
    scorer = build_scorer(config)
    scorer.fit(clips.fit)
    return scorer.score(clips.test)


def peers(config: ScorerConfig, clips: Clips) -> dict[str, SideBySide]:
    """Library → the same scores by it; empty where none has such a scorer."""
    if isinstance(config, KnnConfig) and config.metric == "cosine":
        found: dict[str, SideBySide] = {"scikit-learn": lambda: _by_class(clips, _sklearn_knn(config.k))}
        return ({"faiss": lambda: _by_class(clips, _faiss_knn(config.k))} if FAISS else {}) | found
    if isinstance(config, LofConfig):
        return {"scikit-learn": lambda: _by_class(clips, _sklearn_lof(config.k))}
    if isinstance(config, GmmConfig):
        return {"scikit-learn": lambda: _by_class(clips, _sklearn_gmm(config.components))}
    return {}


def seconds(function: Callable[[], Any], threads: int) -> float:
    """Of one call on so many threads of torch, BLAS and faiss."""
    with _threads(threads):
        begin = time.perf_counter()
        function()
        return time.perf_counter() - begin


def our_aucs(clips: Clips, scores: Scores) -> Pairs:
    """AUC and pAUC of every class."""
    return [both_aucs(label, own) for label, own in _labelled(clips, scores)]


def sklearn_aucs(clips: Clips, scores: Scores) -> Pairs:
    return [
        (roc_auc_score(label, own), roc_auc_score(label, own, max_fpr=PAUC_MAX_FPR))
        for label, own in _labelled(clips, scores)
    ]


def _labelled(clips: Clips, scores: Scores) -> Iterator[tuple[np.ndarray, Scores]]:
    label = clips.manifest.label[clips.test.clip_index.numpy()]
    for rows in clips.test.rows_by_class().values():
        yield label[rows.numpy()], scores[rows.numpy()]


def _by_class(clips: Clips, score: Callable[[np.ndarray, np.ndarray], Scores]) -> Scores:
    """Scores of a function of unit training and test rows, float32, of one class."""
    found = np.empty(len(clips.test))
    train = clips.fit.rows_by_class()
    for own, rows in clips.test.rows_by_class().items():
        bank, query = _unit(clips.fit, train[own]), _unit(clips.test, rows)
        found[rows.numpy()] = score(bank, query)
    return found


def _unit(clips: Embedded, rows: torch.Tensor) -> np.ndarray:
    return normalize(clips.embedding.index_select(0, rows), dim=1).numpy()


def _faiss_knn(k: int) -> Callable[[np.ndarray, np.ndarray], Scores]:
    import faiss

    def score(bank: np.ndarray, query: np.ndarray) -> Scores:
        index = faiss.IndexFlatIP(bank.shape[1])
        index.add(bank)
        return 1.0 - index.search(query, min(k, len(bank)))[0].mean(axis=1)

    return score


def _sklearn_knn(k: int) -> Callable[[np.ndarray, np.ndarray], Scores]:
    def score(bank: np.ndarray, query: np.ndarray) -> Scores:
        found = NearestNeighbors(n_neighbors=min(k, len(bank)), metric="cosine", algorithm="brute").fit(bank)
        return found.kneighbors(query)[0].mean(axis=1)

    return score


def _sklearn_lof(k: int) -> Callable[[np.ndarray, np.ndarray], Scores]:
    def score(bank: np.ndarray, query: np.ndarray) -> Scores:
        found = LocalOutlierFactor(min(k, len(bank) - 1), algorithm="brute", metric="cosine", novelty=True)
        return -found.fit(bank.astype(np.float64)).score_samples(query.astype(np.float64))

    return score


def _sklearn_gmm(components: int) -> Callable[[np.ndarray, np.ndarray], Scores]:
    def score(bank: np.ndarray, query: np.ndarray) -> Scores:
        # In units of the class's spread, as ours; from a start of its own, so its densities differ.
        centre = bank.mean(axis=0)
        spread = np.sqrt(np.square(bank - centre).mean())
        mixture = GaussianMixture(components, covariance_type="diag", reg_covar=1e-3, max_iter=200, random_state=0)
        mixture.fit((bank - centre).astype(np.float64) / spread)
        return -mixture.score_samples((query - centre).astype(np.float64) / spread)

    return score


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)
