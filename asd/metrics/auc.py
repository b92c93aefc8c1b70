"""AUC: the area under the ROC of one group of clips."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from asd.metrics.metric import Metric
from asd.metrics.roc import roc_counts


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """P(anomaly scores above normal) + ½ P(tie), exact; nan where a group has only one label.

    labels (N,) of 0 and 1, scores (N,). Raises ValueError on NaN scores, other labels and unequal lengths.
    """
    false, true = roc_counts(labels, scores)
    normals, anomalies = int(false[-1]), int(true[-1])
    if not normals or not anomalies:
        return math.nan
    # Trapezoids in whole numbers: no rounding before the one division.
    return int(np.dot(false[1:] - false[:-1], true[1:] + true[:-1])) / (2 * normals * anomalies)


AUC = Metric("auc", "AUC", auc, with_lowest=True)
