"""What the decisions at the thresholds are worth: hit rate, false-alarm rate and F1 on labelled clips."""

from __future__ import annotations

from typing import Any

import numpy as np

from asd.metrics.clip_scores import ANOMALY, NORMAL, ClipScores
from asd.metrics.decisions import NO_DECISION


def detections(clips: ClipScores, decision: np.ndarray) -> dict[str, Any]:
    """`all` clips together, and `machines` by `<type>/<ID>`; decision (N,) 1 anomaly, 0 normal, -1 none.

    hit_rate: share of the anomalies that are found (recall); false_alarm_rate: share of the normal clips that are
    called anomalies; None where there are no such clips. Clips without label or decision are left out.
    """
    groups = {f"{name}/{own}": rows for name, ids in clips.groups().items() for own, rows in ids.items()}
    return {
        "all": _rates(clips.label, decision),
        "machines": {name: _rates(clips.label[rows], decision[rows]) for name, rows in groups.items()},
    }


def _rates(label: np.ndarray, decision: np.ndarray) -> dict[str, Any]:
    anomalous, normal = (decision[(label == value) & (decision != NO_DECISION)] for value in (ANOMALY, NORMAL))
    hits, alarms = int(anomalous.sum()), int(normal.sum())
    return {
        "anomalies": len(anomalous),
        "hits": hits,
        "normals": len(normal),
        "false_alarms": alarms,
        "hit_rate": hits / len(anomalous) if len(anomalous) else None,
        "false_alarm_rate": alarms / len(normal) if len(normal) else None,
        "f1": 2 * hits / (hits + alarms + len(anomalous)) if len(anomalous) else None,  # 2 TP / (2 TP + FP + FN)
    }
