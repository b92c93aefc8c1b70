"""Measures of detection. METRICS are computed for every machine ID and appear in every report and table."""

from asd.metrics.auc import AUC, auc
from asd.metrics.clip_scores import ClipScores, read_scores, scores_csv
from asd.metrics.means import arithmetic_mean, harmonic_mean, lowest
from asd.metrics.pauc import PAUC, PAUC_MAX_FPR, partial_auc
from asd.metrics.roc import roc_curve

METRICS = (AUC, PAUC)

__all__ = [
    "AUC",
    "METRICS",
    "PAUC",
    "PAUC_MAX_FPR",
    "ClipScores",
    "arithmetic_mean",
    "auc",
    "harmonic_mean",
    "lowest",
    "partial_auc",
    "read_scores",
    "roc_curve",
    "scores_csv",
]
