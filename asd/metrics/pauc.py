"""pAUC: the standardised area under the ROC at low false positive rates."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from asd.metrics.metric import Metric
from asd.metrics.roc import roc_counts

PAUC_MAX_FPR = 0.1


def partial_auc(labels: ArrayLike, scores: ArrayLike, max_fpr: float = PAUC_MAX_FPR) -> float:
    """Area under the ROC on FPR in [0, max_fpr], standardised so that chance is 0.5 and perfect is 1 (McClish 1989).

    The TPR at max_fpr is interpolated linearly, as scikit-learn's `max_fpr` does; nan and errors as in `auc`.
    """
    if not 0.0 < max_fpr <= 1.0:
        raise ValueError(f"max_fpr is {max_fpr}, it must lie in (0, 1]")
    false, true = roc_counts(labels, scores)
    normals, anomalies = int(false[-1]), int(true[-1])
    if not normals or not anomalies:
        return math.nan
    # Points at or before max_fpr, at least (0, 0); and the one beyond, where there is one.
    inside = int(np.searchsorted(false / normals, max_fpr, side="right"))
    fpr, tpr = false[: inside + 1] / normals, true[: inside + 1] / anomalies
    area = float(np.dot(fpr[1:inside] - fpr[: inside - 1], tpr[1:inside] + tpr[: inside - 1])) / 2
    if len(fpr) > inside:
        width, slope = max_fpr - fpr[-2], (tpr[-1] - tpr[-2]) / (fpr[-1] - fpr[-2])
        area += float(width * (tpr[-2] + slope * width / 2))
    chance = max_fpr**2 / 2
    return 0.5 * (1 + (area - chance) / (max_fpr - chance))


PAUC = Metric("pauc", "pAUC", partial_auc)
