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
    false, true = _roc_counts(labels, scores)
    if false[-1] == 0 or true[-1] == 0:
        return math.nan
    # Trapezoids in whole numbers: no rounding before the one division.
    twice_area = int(np.sum(np.diff(false) * (true[1:] + true[:-1])))
    return twice_area / (2 * int(false[-1]) * int(true[-1]))


def partial_auc(labels: ArrayLike, scores: ArrayLike, max_fpr: float = PAUC_MAX_FPR) -> float:
    """Area under the ROC on FPR in [0, max_fpr], standardised so that chance is 0.5 and perfect is 1 (McClish 1989).

    The TPR at max_fpr is interpolated linearly, as scikit-learn's `max_fpr` does; nan and errors as in `auc`.
    """
    if not 0.0 < max_fpr <= 1.0:
        raise ValueError(f"max_fpr is {max_fpr}, it must lie in (0, 1]")
    false, true = _roc_counts(labels, scores)
    if false[-1] == 0 or true[-1] == 0:
        return math.nan
    fpr, tpr = false / false[-1], true / true[-1]
    inside = int(np.searchsorted(fpr, max_fpr, side="right"))
    x = np.append(fpr[:inside], max_fpr)
    y = np.append(tpr[:inside], np.interp(max_fpr, fpr, tpr))
    chance = max_fpr**2 / 2
    return float(0.5 * (1 + (np.trapezoid(y, x) - chance) / (max_fpr - chance)))


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


def _roc_counts(labels: ArrayLike, scores: ArrayLike) -> tuple[Counts, Counts]:
    """Normals and anomalies at or above each distinct score, from the highest down, with a leading zero."""
    label, score = _checked(labels, scores)
    order = np.argsort(-score, kind="stable")
    label, score = label[order], score[order]
    last_of_tie = np.append(score[1:] != score[:-1], True)[: score.size]
    true = np.cumsum(label)[last_of_tie]
    seen = np.flatnonzero(last_of_tie) + 1
    return np.insert(seen - true, 0, 0), np.insert(true, 0, 0)


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[Counts, Floats]:
    label, score = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if label.ndim != 1 or label.shape != score.shape:
        raise ValueError(f"labels {label.shape} and scores {score.shape} must be two lists of one length")
    if np.isnan(score).any():
        raise ValueError(f"{int(np.isnan(score).sum())} of {score.size} scores are NaN")
    if not np.isin(label, (0, 1)).all():
        raise ValueError("labels must be 0 (normal) or 1 (anomaly): leave unlabelled clips out")
    return label.astype(np.int64), score
