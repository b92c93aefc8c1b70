"""Measures of detection: ROC, AUC, pAUC, and the summary of a whole test set."""

from asd.metrics.auc import (
    PAUC_MAX_FPR,
    arithmetic_mean,
    auc,
    both_aucs,
    harmonic_mean,
    lowest,
    partial_auc,
    roc_curve,
)
from asd.metrics.clip_scores import ClipScores, read_scores, scores_csv
from asd.metrics.summary import summarise

__all__ = [
    "PAUC_MAX_FPR",
    "ClipScores",
    "arithmetic_mean",
    "auc",
    "both_aucs",
    "harmonic_mean",
    "lowest",
    "partial_auc",
    "read_scores",
    "roc_curve",
    "scores_csv",
    "summarise",
]
