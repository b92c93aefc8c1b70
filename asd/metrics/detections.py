"""Quality of the decisions at the thresholds: hit rate, false-alarm rate and F1 on labelled clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asd.metrics.clip_scores import ANOMALY, NORMAL, ClipScores
from asd.metrics.decisions import NO_DECISION


@dataclass(frozen=True)
class Rates:
    """Of some clips with label and decision; None: there are no such clips.

    hit_rate: share of the anomalies that are found (recall); false_alarm_rate: share of the normal clips that are
    called anomalies.
    """

    anomalies: int
    hits: int
    normals: int
    false_alarms: int
    hit_rate: float | None
    false_alarm_rate: float | None
    f1: float | None


@dataclass(frozen=True)
class Detections:
    """Of all clips together, and of each machine by `<type>/<ID>`."""

    all: Rates
    machines: dict[str, Rates]


def detections(clips: ClipScores, decision: np.ndarray) -> Detections:
    """decision (N,) 1 anomaly, 0 normal, -1 none. Clips without label or decision are left out."""
    groups = {f"{name}/{own}": rows for name, ids in clips.groups.items() for own, rows in ids.items()}
    machines = {name: _rates(clips.label[rows], decision[rows]) for name, rows in groups.items()}
    return Detections(_rates(clips.label, decision), machines)


def _rates(label: np.ndarray, decision: np.ndarray) -> Rates:
    anomalous, normal = (decision[(label == value) & (decision != NO_DECISION)] for value in (ANOMALY, NORMAL))
    hits, alarms = int(anomalous.sum()), int(normal.sum())
    return Rates(
        anomalies=len(anomalous),
        hits=hits,
        normals=len(normal),
        false_alarms=alarms,
        hit_rate=hits / len(anomalous) if len(anomalous) else None,
        false_alarm_rate=alarms / len(normal) if len(normal) else None,
        f1=2 * hits / (hits + alarms + len(anomalous)) if len(anomalous) else None,  # 2 TP / (2 TP + FP + FN)
    )
