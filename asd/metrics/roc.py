"""The ROC of one group of clips. Higher score = more anomalous.

N clips; a label is 1 (anomaly) or 0 (normal). A group without a normal or without an anomaly has no ROC.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Corners of the ROC, (fpr, tpr), from (0, 0) to (1, 1); points on a straight line between others are left out.

    labels (N,) of 0 and 1, scores (N,). Both arrays are empty where a group has only one label. Errors as in
    `roc_counts`.
    """
    false, true = roc_counts(labels, scores)
    if false[-1] == 0 or true[-1] == 0:
        return np.empty(0), np.empty(0)
    across, up = np.diff(false), np.diff(true)
    turns = across[:-1] * up[1:] != across[1:] * up[:-1]
    keep = np.concatenate(([True], turns, [True]))
    return false[keep] / false[-1], true[keep] / true[-1]


def roc_counts(labels: ArrayLike, scores: ArrayLike) -> tuple[Counts, Counts]:
    """Normals and anomalies at or above each distinct score, from the highest down, with a leading zero.

    Raises ValueError on NaN scores, labels other than 0 and 1, and unequal lengths.
    """
    label, score = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if label.ndim != 1 or label.shape != score.shape:
        raise ValueError(f"labels {label.shape} and scores {score.shape} must be two lists of one length")
    if np.isnan(score).any():
        raise ValueError(f"{int(np.isnan(score).sum())} of {score.size} scores are NaN")
    if not ((label == 0) | (label == 1)).all():
        raise ValueError("labels must be 0 (normal) or 1 (anomaly): leave unlabelled clips out")
    order = np.argsort(score)[::-1]  # ties count as one, so their order does not matter
    score = score[order]
    last_of_tie = np.flatnonzero(score[1:] != score[:-1])
    seen = np.concatenate(([0], last_of_tie + 1, [score.size]))
    true = np.concatenate(([0], np.cumsum(label.astype(np.int64)[order])))[seen]
    return seen - true, true
