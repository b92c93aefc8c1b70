"""From clip scores to the numbers of report.json, by the DCASE 2020 rule: every metric per machine ID, then means.

`ids` are the units (sections) of a machine type.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pydantic

from asd.metrics import METRICS
from asd.metrics.clip_scores import ANOMALY, NORMAL, UNKNOWN, ClipScores, check_finite
from asd.metrics.means import arithmetic_mean, harmonic_mean, lowest
from asd.metrics.numbers import Numbers, Value


class ClipCounts(pydantic.BaseModel, frozen=True):
    """How many test clips there are, and of which label."""

    clips: int
    normals: int
    anomalies: int
    unlabelled: int


class NotScored(pydantic.BaseModel, frozen=True):
    """A machine ID without a ROC, and why: `no labels`, `no anomalies`, `no normals`."""

    machine_type: str
    machine_id: str
    reason: str


class IdNumbers(Numbers, frozen=True):
    """The metrics of a machine ID's clips, and how many these are."""

    normals: int
    anomalies: int
    unlabelled: int


class TypeNumbers(Numbers, frozen=True):
    """The metrics of a machine type: means over its IDs, and all its clips as one group (`pooled`)."""

    ids: dict[str, IdNumbers]


class ScorerNumbers(pydantic.BaseModel, frozen=True):
    """A scorer's metrics by machine type, and their means over the types."""

    mean: dict[str, Value]
    types: dict[str, TypeNumbers]


def count_labels(label: np.ndarray) -> ClipCounts:
    """Of labels (N,): 1 anomaly, 0 normal, -1 unknown."""
    normals, anomalies, unlabelled = (int(np.sum(label == kind)) for kind in (NORMAL, ANOMALY, UNKNOWN))
    return ClipCounts(clips=len(label), normals=normals, anomalies=anomalies, unlabelled=unlabelled)


def summarise(clips: ClipScores) -> dict[str, ScorerNumbers]:
    """Scorer → its numbers; unlabelled clips are left out. Raises UserError where a score is not finite."""
    check_finite(clips)
    return {name: _scorer_numbers(clips, scores) for name, scores in clips.scores.items()}


def not_scored(clips: ClipScores) -> list[NotScored]:
    """The machine IDs without a ROC."""
    rows = []
    for machine_type, ids in clips.groups.items():
        for machine_id, indices in ids.items():
            counts = count_labels(clips.label[indices])
            missing = "" if counts.normals else "no normals"
            missing = missing if counts.anomalies else "no anomalies"
            missing = missing if counts.normals or counts.anomalies else "no labels"
            if missing:
                rows.append(NotScored(machine_type=machine_type, machine_id=machine_id, reason=missing))
    return rows


def _scorer_numbers(clips: ClipScores, scores: np.ndarray) -> ScorerNumbers:
    types = {name: _type_numbers(clips, scores, ids) for name, ids in clips.groups.items()}
    of_types = types.values()
    mean: dict[str, float | None] = {m.key: arithmetic_mean(own[m.mean] for own in of_types) for m in METRICS}
    mean |= {metric.harmonic: harmonic_mean(own[metric.mean] for own in of_types) for metric in METRICS}
    mean |= {m.mean_of_lowest: arithmetic_mean(own[m.lowest] for own in of_types) for m in METRICS if m.with_lowest}
    mean |= {metric.pooled: arithmetic_mean(own[metric.pooled] for own in of_types) for metric in METRICS}
    return ScorerNumbers(mean=mean, types=types)


def _type_numbers(clips: ClipScores, scores: np.ndarray, ids: Mapping[str, np.ndarray]) -> TypeNumbers:
    per_id = {name: _id_numbers(clips.label[indices], scores[indices]) for name, indices in ids.items()}
    every = np.concatenate(list(ids.values()))
    pooled = _id_numbers(clips.label[every], scores[every])
    of_ids = per_id.values()
    numbers: dict[str, float | None] = {m.mean: arithmetic_mean(own[m.key] for own in of_ids) for m in METRICS}
    numbers |= {metric.harmonic: harmonic_mean(own[metric.key] for own in of_ids) for metric in METRICS}
    numbers |= {m.lowest: lowest(own[m.key] for own in of_ids) for m in METRICS if m.with_lowest}
    numbers |= {metric.pooled: pooled[metric.key] for metric in METRICS}
    return TypeNumbers.model_validate({**numbers, "ids": per_id})


def _id_numbers(label: np.ndarray, scores: np.ndarray) -> IdNumbers:
    known = label != UNKNOWN
    numbers = {metric.key: metric.of(label[known], scores[known]) for metric in METRICS}
    return IdNumbers.model_validate({**numbers, **count_labels(label).model_dump(exclude={"clips"})})
