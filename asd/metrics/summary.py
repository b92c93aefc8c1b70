"""From clip scores to the numbers of report.json, by the DCASE 2020 rule: AUC and pAUC per machine ID, then means.

`ids` are the units (sections) of a machine type. A number that cannot be computed is None, null in JSON.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from asd.metrics.auc import arithmetic_mean, both_aucs, harmonic_mean, lowest
from asd.metrics.clip_scores import ANOMALY, NORMAL, UNKNOWN, ClipScores, check_finite

Summary = dict[str, Any]


def summarise(clips: ClipScores) -> Summary:
    """The body of report.json: `test` counts, IDs that are `not_scored` and why, and every scorer's numbers.

    Unlabelled clips are counted and left out of the metrics. Raises UserError where a score is not finite.
    """
    check_finite(clips)
    return {
        "test": _counts(clips.label),
        "not_scored": _not_scored(clips),
        "scorers": {name: _scorer_summary(clips, scores) for name, scores in clips.scores.items()},
    }


def _counts(label: np.ndarray) -> Summary:
    return {
        "clips": len(label),
        "normals": int(np.sum(label == NORMAL)),
        "anomalies": int(np.sum(label == ANOMALY)),
        "unlabelled": int(np.sum(label == UNKNOWN)),
    }


def _not_scored(clips: ClipScores) -> list[Summary]:
    rows = []
    for machine_type, ids in clips.groups().items():
        for machine_id, indices in ids.items():
            reason = _why_not_scored(_counts(clips.label[indices]))
            if reason:
                rows.append({"machine_type": machine_type, "machine_id": machine_id, "reason": reason})
    return rows


def _why_not_scored(counts: Summary) -> str:
    if counts["unlabelled"] == counts["clips"]:
        return "no labels"
    if not counts["anomalies"]:
        return "no anomalies"
    return "" if counts["normals"] else "no normals"


def _scorer_summary(clips: ClipScores, scores: np.ndarray) -> Summary:
    types = {name: _type_numbers(clips, scores, ids) for name, ids in clips.groups().items()}
    mean = {
        "auc": arithmetic_mean(t["auc_mean"] for t in types.values()),
        "pauc": arithmetic_mean(t["pauc_mean"] for t in types.values()),
        "auc_harmonic": harmonic_mean(t["auc_mean"] for t in types.values()),
        "pauc_harmonic": harmonic_mean(t["pauc_mean"] for t in types.values()),
        "mauc": arithmetic_mean(t["auc_min"] for t in types.values()),
        "auc_pooled": arithmetic_mean(t["auc_pooled"] for t in types.values()),
        "pauc_pooled": arithmetic_mean(t["pauc_pooled"] for t in types.values()),
    }
    return {"mean": _nullable(mean), "types": {name: _nullable(t) for name, t in types.items()}}


def _type_numbers(clips: ClipScores, scores: np.ndarray, ids: dict[str, np.ndarray]) -> Summary:
    per_id = {name: _id_numbers(clips.label[indices], scores[indices]) for name, indices in ids.items()}
    aucs, paucs = [i["auc"] for i in per_id.values()], [i["pauc"] for i in per_id.values()]
    pooled = _id_numbers(*(column[np.concatenate(list(ids.values()))] for column in (clips.label, scores)))
    return {
        "auc_mean": arithmetic_mean(aucs),
        "pauc_mean": arithmetic_mean(paucs),
        "auc_harmonic": harmonic_mean(aucs),
        "pauc_harmonic": harmonic_mean(paucs),
        "auc_min": lowest(aucs),
        "auc_pooled": pooled["auc"],
        "pauc_pooled": pooled["pauc"],
        "ids": {name: _nullable(numbers) for name, numbers in per_id.items()},
    }


def _id_numbers(label: np.ndarray, scores: np.ndarray) -> Summary:
    known = label != UNKNOWN
    auc, pauc = both_aucs(label[known], scores[known])
    counts = _counts(label)
    return {
        "auc": auc,
        "pauc": pauc,
        "normals": counts["normals"],
        "anomalies": counts["anomalies"],
        "unlabelled": counts["unlabelled"],
    }


def _nullable(numbers: Summary) -> Summary:
    """nan is not JSON: None in its place."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in numbers.items()}
