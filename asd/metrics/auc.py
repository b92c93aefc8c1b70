"""ROC curve, AUC and pAUC of one group of clips, and the two means of many groups. Higher score = more anomalous.

N clips; P anomalies; a label is 1 (anomaly) or 0 (normal). A group without a normal or without an anomaly has no ROC:
its AUC is nan, which the means leave out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

PAUC_MAX_FPR = 0.1


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """P(anomaly scores above normal) + ½ P(tie), exact; nan where a group has only one label.

    labels (N,) of 0 and 1, scores (N,). Raises ValueError on NaN scores, other labels and unequal lengths.
    """
    return _area(*_roc_counts(labels, scores))


def partial_auc(labels: ArrayLike, scores: ArrayLike, max_fpr: float = PAUC_MAX_FPR) -> float:
    """Area under the ROC on FPR in [0, max_fpr], standardised so that chance is 0.5 and perfect is 1 (McClish 1989).

    The TPR at max_fpr is interpolated linearly, as scikit-learn's `max_fpr` does; nan and errors as in `auc`.
    """
    if not 0.0 < max_fpr <= 1.0:
        raise ValueError(f"max_fpr is {max_fpr}, it must lie in (0, 1]")
    return _partial_area(*_roc_counts(labels, scores), max_fpr)


def both_aucs(labels: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """(AUC, pAUC) by one sort of the scores; nan and errors as in `auc`."""
    counts = _roc_counts(labels, scores)
    return _area(*counts), _partial_area(*counts, PAUC_MAX_FPR)


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Corners of the ROC, (fpr, tpr), from (0, 0) to (1, 1); points on a straight line between others are left out.

    Both arrays are empty where a group has only one label. Errors as in `auc`.
    """
    false, true = _roc_counts(labels, scores)
    if false[-1] == 0 or true[-1] == 0:
        return np.empty(0), np.empty(0)
    across, up = np.diff(false), np.diff(true)
    turns = across[:-1] * up[1:] != across[1:] * up[:-1]
    keep = np.concatenate(([True], turns, [True]))
    return false[keep] / false[-1], true[keep] / true[-1]


def arithmetic_mean(values: Iterable[float]) -> float:
    """Mean of the values that are not nan; nan where there are none."""
    known = _known(values)
    return float(known.mean()) if known.size else math.nan


def harmonic_mean(values: Iterable[float]) -> float:
    """Harmonic mean of the values that are not nan, each floored at machine epsilon as the DCASE evaluators do."""
    known = _known(values)
    if not known.size:
        return math.nan
    return float(known.size / np.sum(1.0 / np.maximum(known, np.finfo(np.float64).eps)))


def lowest(values: Iterable[float]) -> float:
    """The smallest of the values that are not nan; nan where there are none."""
    known = _known(values)
    return float(known.min()) if known.size else math.nan


def _known(values: Iterable[float]) -> Floats:
    array = np.fromiter(values, dtype=np.float64)
    return array[~np.isnan(array)]


def _area(false: Counts, true: Counts) -> float:
    normals, anomalies = int(false[-1]), int(true[-1])
    if not normals or not anomalies:
        return math.nan
    # Trapezoids in whole numbers: no rounding before the one division.
    return int(np.dot(false[1:] - false[:-1], true[1:] + true[:-1])) / (2 * normals * anomalies)


def _partial_area(false: Counts, true: Counts, max_fpr: float) -> float:
    normals, anomalies = int(false[-1]), int(true[-1])
    if not normals or not anomalies:
        return math.nan
    inside = int(
        np.searchsorted(false / normals, max_fpr, side="right")
    )  # points at or before max_fpr; at least (0, 0)
    fpr, tpr = false[: inside + 1] / normals, true[: inside + 1] / anomalies  # and the one beyond, where there is one
    area = float(np.dot(fpr[1:inside] - fpr[: inside - 1], tpr[1:inside] + tpr[: inside - 1])) / 2
    if len(fpr) > inside:
        width, slope = max_fpr - fpr[-2], (tpr[-1] - tpr[-2]) / (fpr[-1] - fpr[-2])
        area += float(width * (tpr[-2] + slope * width / 2))
    chance = max_fpr**2 / 2
    return 0.5 * (1 + (area - chance) / (max_fpr - chance))


def _roc_counts(labels: ArrayLike, scores: ArrayLike) -> tuple[Counts, Counts]:
    """Normals and anomalies at or above each distinct score, from the highest down, with a leading zero."""
    label, score = _checked(labels, scores)
    order = np.argsort(score)[::-1]  # ties count as one, so their order does not matter
    score = score[order]
    last_of_tie = np.flatnonzero(score[1:] != score[:-1])
    seen = np.concatenate(([0], last_of_tie + 1, [score.size]))
    true = np.concatenate(([0], np.cumsum(label[order])))[seen]
    return seen - true, true


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[Counts, Floats]:
    label, score = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if label.ndim != 1 or label.shape != score.shape:
        raise ValueError(f"labels {label.shape} and scores {score.shape} must be two lists of one length")
    if np.isnan(score).any():
        raise ValueError(f"{int(np.isnan(score).sum())} of {score.size} scores are NaN")
    if not ((label == 0) | (label == 1)).all():
        raise ValueError("labels must be 0 (normal) or 1 (anomaly): leave unlabelled clips out")
    return label.astype(np.int64), score
