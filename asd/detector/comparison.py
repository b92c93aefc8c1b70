"""An exported file against the detector that it was made from, on clips: the same scores, the same decisions.

Legend: N windows, S scorers, T samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from asd.detector.detector import batch_of
from asd.detector.file import DetectorFile
from asd.detector.formats.base import Clip
from asd.detector.input import OK, sound_of
from asd.errors import UserError
from asd.evaluate.embed import Columns, columns_of
from asd.frontends.ignored import ignoring
from asd.metrics.auc import auc
from asd.scorers.per_clip import score_of_clips
from asd.scorers.state import restored
from asd.tasks.base import Task
from asd.tasks.reference import embed

MAX_ERROR = 1e-4  # of the spread of a scorer's scores: what rounding may change
Scores = tuple[np.ndarray, np.ndarray]  # of a window: (S,) float64, and (S,) bool, whether it is an anomaly


class Comparison(NamedTuple):
    """What both say of the same windows, each of machine `own` (N,)."""

    labels: list[str]  # of the scorers
    own: np.ndarray
    clip: np.ndarray  # (N,) which clip a window is of
    is_anomaly: np.ndarray
    scores: np.ndarray  # (N, S) of the detector
    thresholds: np.ndarray  # (N, S), nan where a machine has none
    exported_scores: np.ndarray
    exported_decisions: np.ndarray
    left_out: int  # clips that have no window with sound

    @property
    def clips(self) -> int:
        return len(np.unique(self.clip))

    def spread(self) -> np.ndarray:
        """(N, S): the root mean square distance of the scores of a window's machine from its threshold (where there is
        none, from their mean): what a difference matters by, also for clips that a bank holds, whose scores are 0."""
        found = np.empty_like(self.scores)
        for own in np.unique(self.own):
            rows = self.own == own
            scores, limits = self.scores[rows], self.thresholds[rows]
            centre = np.where(np.isnan(limits), scores.mean(0), limits)
            spread = np.sqrt(np.mean((scores - centre) ** 2, axis=0))
            found[rows] = np.where(spread > 0, spread, np.abs(scores).max(0) + 1e-30)
        return found

    def worst(self) -> tuple[float, str]:
        """The largest difference of two scores, in units of their spread, and the scorer."""
        difference = np.abs(self.exported_scores - self.scores) / self.spread()
        found = np.nan_to_num(difference, nan=np.inf).max(0)
        return float(found.max()), self.labels[int(found.argmax())]

    def other_decisions(self) -> int:
        """Windows that one calls an anomaly by a scorer, and the other normal. A score that is the threshold but for
        rounding, as of the clip that the threshold was found by, may be either."""
        is_clear = ~(np.abs(self.scores - self.thresholds) <= MAX_ERROR * self.spread())
        differs = (self.scores > self.thresholds) != self.exported_decisions
        return int((is_clear & differs).any(1).sum())

    def mean_aucs(self) -> tuple[float, float] | None:
        """By the first scorer, of detector and exported file: the mean over machines with clips of both kinds."""
        found = []
        for own in np.unique(self.own):
            rows = self.own == own
            clips = [rows & (self.clip == clip) for clip in np.unique(self.clip[rows])]
            truth = [self.is_anomaly[clip][0] for clip in clips]
            if len(set(truth)) == 2:
                both = (self.scores, self.exported_scores)
                found.append([auc(truth, [scores[clip, 0].mean() for clip in clips]) for scores in both])
        if not found:
            return None
        mean = np.mean(found, axis=0)
        return float(mean[0]), float(mean[1])


def compare(
    file: DetectorFile, task: Task, clips: Iterable[Clip], exported: Callable[[np.ndarray, int], Scores]
) -> Comparison:
    """exported: of a window (T,) int16, of two microphones (T, 2), and the class of its machine.

    The detector runs in float32 on the CPU. Windows without sound are left out: nobody decides by them. UserError where
    no other is there.
    """
    columns: list[Columns] = []
    rows: list[tuple[int, int, bool]] = []
    found: list[Scores] = []
    left_out = 0
    for place, clip in enumerate(clips):
        windows = [window for window in clip.windows if sound_of(window) == OK]
        left_out += not windows
        for window in windows:
            batch = batch_of(window[None], min(clip.own, file.learnt_classes - 1), len(rows))
            with ignoring(task, file.ignored.get(clip.own, ())):
                out = embed(task, batch, file.reference_weight or 0.0)
            columns.append(columns_of(out, batch, file.average))
            rows.append((clip.own, place, clip.is_anomaly))
            found.append(exported(window, clip.own))
    if not rows:
        raise UserError(f"no recording has sound for a window of {file.clip_s:g} s: nothing to check an export on")
    own, clip_of, is_anomaly = (np.array(column) for column in zip(*rows, strict=True))
    table = Columns.joined(columns).table(task.views)
    table = replace(table, class_index=torch.from_numpy(own)[table.clips()[1]])  # also of machines that were added
    scores = np.stack([score_of_clips(restored(s.config, s.state), table, file.flipped) for s in file.scorers], axis=1)
    thresholds = np.array([[s.thresholds.get(machine, np.nan) for s in file.scorers] for machine in own])
    exported_scores, exported_decisions = (np.stack(column) for column in zip(*found, strict=True))
    return Comparison(
        [scorer.label for scorer in file.scorers],
        own,
        clip_of,
        is_anomaly,
        scores,
        thresholds,
        exported_scores,
        exported_decisions,
        left_out,
    )
