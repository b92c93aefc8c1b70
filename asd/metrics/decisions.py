"""Decisions on clips by thresholds of normal clips, one for each machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from asd.metrics.clip_scores import ClipScores
from asd.metrics.false_alarms import TooFewNormalsError
from asd.metrics.thresholds import AnyThreshold, Threshold, decide, fit_threshold

Machine = tuple[str, str]  # machine type, machine ID


@dataclass(frozen=True)
class Decisions:
    """A scorer's decisions on N test clips, (N,) 1 anomaly, 0 normal, -1 none; and the threshold of each machine.

    refused: machines whose normal clips are too few for a threshold, and why.
    """

    decision: np.ndarray
    thresholds: Mapping[Machine, Threshold]
    refused: Mapping[Machine, str] = field(default_factory=dict)

    @property
    def by_name(self) -> dict[str, Threshold]:
        """The thresholds by `fan/00`."""
        return {"/".join(machine): threshold for machine, threshold in self.thresholds.items()}


def machines_of(clips: ClipScores) -> list[Machine]:
    """The machine of every clip."""
    return list(zip(clips.machine_type, clips.machine_id, strict=True))


def decide_clips(clips: ClipScores, calibration: ClipScores, scorer: str, config: AnyThreshold) -> Decisions:
    """Decisions by a threshold for each machine, fitted to its normal calibration clips; -1 where it has none."""
    normal, tested = (
        {(machine_type, own): rows for machine_type, ids in part.groups.items() for own, rows in ids.items()}
        for part in (calibration, clips)
    )
    scores, decision = clips.scores[scorer], np.full(len(clips), NO_DECISION)
    thresholds: dict[Machine, Threshold] = {}
    refused: dict[Machine, str] = {}
    for machine, rows in tested.items():
        if machine not in normal:
            continue
        own = normal[machine]
        try:
            thresholds[machine] = fit_threshold(calibration.scores[scorer][own], config, calibration.recordings(own))
        except TooFewNormalsError as error:
            refused[machine] = str(error)
            continue
        decision[rows] = decide(scores[rows], thresholds[machine].value)
    return Decisions(decision, thresholds, refused)


NO_DECISION = -1
