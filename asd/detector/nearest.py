"""Which machine of a detector it is that sounds: the one whose normal recordings are nearest.

Legend: n normal clips of a machine, w windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch

from asd.audio.header import BadFileError
from asd.audio.recording import Target
from asd.audio.windows import Cut
from asd.data.manifest import MachineClass
from asd.detector.detector import Detector
from asd.detector.input import NOTHING
from asd.detector.recorded import Recorded
from asd.detector.recordings import Asked
from asd.errors import UserError
from asd.evaluate.embed import Columns
from asd.scorers import build_scorer
from asd.scorers.per_clip import score_of_clips
from asd.scorers.scale import scale_of

LISTENED_S = 60.0  # of a recording, from its beginning


@dataclass(frozen=True)
class Nearest:
    """own: class of the machine. apart: its score, in standard deviations above its own normal clips. margin: by how
    much more the second one is apart."""

    own: int
    apart: float
    second: int
    margin: float

    def in_words(self, classes: Sequence[MachineClass]) -> str:
        return f"nearest machine, {self.margin:.1f} standard deviations nearer than {classes[self.second]}"


class Machines:
    """The machines of a detector on one scale: each by its score of its own normal clips, left out one by one."""

    def __init__(self, detector: Detector) -> None:
        """UserError where a machine keeps no normal recordings, does not hear the same bands, or is the only one."""
        file = detector.file
        self._machines = [detector.set_on(own) for own in range(len(file.classes))]
        if len(self._machines) < 2:
            raise UserError(f"--machine auto: {detector.source} has one machine, {file.classes[0]}")
        if len({file.ignored.get(own, ()) for own in range(len(file.classes))}) > 1:
            raise UserError(f"--machine auto: the machines of {detector.source} do not ignore the same bands")
        self._scales = [self._scale(machine) for machine in self._machines]

    def _scale(self, machine: Detector) -> tuple[float, float]:
        """Mean and standard deviation of the scores of the machine's normal clips, each as if it were new."""
        rows = machine.file.normals_of(machine.own, machine.source).table(machine.own, machine.task.views)
        scorer = build_scorer(machine.chosen.config)
        scorer.fit(rows)
        scores = score_of_clips(scorer, rows, machine.file.flipped, rows)
        finite = torch.from_numpy(scores[np.isfinite(scores)])
        if not len(finite):
            raise UserError(f"--machine auto: {machine.file.classes[machine.own]} has a single normal recording")
        scale = scale_of(finite[None], len(rows.recording.unique()))
        return float(scale.centre[0]), float(scale.spread[0])

    def nearest(self, embedded: Sequence[Columns]) -> Nearest:
        """Of windows (w,), embedded for any of the machines, on the mean."""
        apart = np.array(
            [
                float(np.mean((machine.score(embedded) - centre) / spread))
                for machine, (centre, spread) in zip(self._machines, self._scales, strict=True)
            ]
        )
        first, second = np.argsort(apart, kind="stable")[:2].tolist()
        return Nearest(first, float(apart[first]), second, float(apart[second] - apart[first]))


def of_nearest_machines(detector: Detector, asked: Sequence[Asked], target: Target, cut: Cut) -> Iterator[Asked]:
    """The same recordings, each with the machine that it is nearest to, and a note of by how much. What cannot be read
    or holds no sound stays as it is, for whoever judges it to say so."""
    machines, classes = Machines(detector), detector.file.classes
    for one in asked:
        embedded: list[Columns] = []
        with suppress(BadFileError, UserError):
            for window, state in Recorded.of(one.path, target, detector.file.heard).windows(cut):
                if embedded and window.begin_s >= LISTENED_S:
                    break
                if state not in NOTHING:
                    embedded.append(detector.embed(np.stack([window.samples]), len(embedded)))
        if not embedded:
            yield one
            continue
        found = machines.nearest(embedded)
        yield replace(one, own=found.own, note=found.in_words(classes))
