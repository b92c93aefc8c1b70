"""What is known of a detector: how much normal sound it has learnt from, and how good it was when it was tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pydantic
from scipy.stats import bootstrap

from asd.data.manifest import MachineClass
from asd.metrics import ClipScores
from asd.metrics.clip_scores import ANOMALY, NORMAL

RESAMPLES, BATCH = 1000, 20  # of the bootstrap; so many at once: 25 MB with 400 + 400 clips of a machine
CONFIDENCE = 0.95


class Learnt(pydantic.BaseModel, extra="forbid", frozen=True):
    """Normal clips of a machine that the detector knows."""

    clips: int
    recordings: int
    hours: float


class Share(pydantic.BaseModel, extra="forbid", frozen=True):
    """So many of all."""

    count: int
    of: int


class Tested(pydantic.BaseModel, extra="forbid", frozen=True):
    """By labelled test clips of the run, as the detector was exported."""

    normal: int  # clips
    anomalous: int
    aucs: dict[str, tuple[float, float, float]]  # scorer → mean over machines, and its interval
    primary: str  # the scorer by whose thresholds it was decided
    found: Share  # anomalies
    false_alarms: Share  # normal clips
    without_anomaly: tuple[int, ...]  # classes without an anomalous test clip


def measured(
    clips: ClipScores, classes: Sequence[MachineClass], labels: Sequence[str], thresholds: dict[int, float]
) -> Tested:
    """labels: of the scorers, the primary one first, which is among the clips' scores. thresholds: class → its own."""
    machines = [(own.machine_type, own.machine_id) for own in classes]
    limits = {machines[own]: value for own, value in thresholds.items()}
    own = list(zip(clips.machine_type, clips.machine_id, strict=True))
    threshold = np.array([limits.get(machine, np.nan) for machine in own])
    above = clips.scores[labels[0]] > threshold
    decided = {which: (clips.label == which) & np.isfinite(threshold) for which in (NORMAL, ANOMALY)}
    shares = {which: Share(count=int(above[rows].sum()), of=int(rows.sum())) for which, rows in decided.items()}
    faulty = {own[row] for row in np.flatnonzero(clips.label == ANOMALY)}
    aucs = {label: auc_with_interval(clips, label) for label in labels if label in clips.scores}
    return Tested(
        normal=int((clips.label == NORMAL).sum()),
        anomalous=int((clips.label == ANOMALY).sum()),
        aucs={label: (mean, *interval) for label, (mean, interval) in aucs.items()},
        primary=labels[0],
        found=shares[ANOMALY],
        false_alarms=shares[NORMAL],
        without_anomaly=tuple(index for index, machine in enumerate(machines) if machine not in faulty),
    )


def auc_with_interval(tested: ClipScores, label: str) -> tuple[float, tuple[float, float]]:
    """Mean AUC over the machines that have clips of both kinds, and its percentile interval (scipy's bootstrap)."""
    scores, samples = tested.scores[label], []
    for rows in (rows for ids in tested.groups.values() for rows in ids.values()):
        normal, anomalous = (scores[rows[tested.label[rows] == which]] for which in (NORMAL, ANOMALY))
        if len(normal) and len(anomalous):
            samples += [normal, anomalous]
    several = [np.repeat(one, 2) if len(one) == 1 else one for one in samples]  # scipy asks for two
    found = bootstrap(
        several, _mean_auc, n_resamples=RESAMPLES, batch=BATCH, vectorized=True, confidence_level=CONFIDENCE,
        method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(_mean_auc(*samples)), (float(found.confidence_interval.low), float(found.confidence_interval.high))


def _mean_auc(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    """Of normal and anomalous scores of each machine in turn, (…, n) each."""
    pairs = zip(samples[::2], samples[1::2], strict=True)
    return np.mean([_auc(np.moveaxis(normal, axis, -1), np.moveaxis(odd, axis, -1)) for normal, odd in pairs], axis=0)


def _auc(normal: np.ndarray, odd: np.ndarray) -> np.ndarray:
    difference = odd[..., None, :] - normal[..., :, None]
    return ((difference > 0) + 0.5 * (difference == 0)).mean((-2, -1))
