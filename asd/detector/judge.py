"""Recordings → score and decision of each, by a detector."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from asd.audio.header import BadFileError
from asd.audio.recording import Target
from asd.audio.windows import Cut, Window
from asd.data.heard import Heard
from asd.data.manifest import MachineClass
from asd.detector import Detector, DetectorFile
from asd.detector.explain import Explanation
from asd.detector.input import NOTHING, OF_RECORDINGS, OK, TOO_SHORT
from asd.detector.recorded import Recorded, in_windows, state_of_unread
from asd.detector.recordings import Asked
from asd.errors import UserError
from asd.evaluate.embed import Columns

BATCH_AUDIO_S = 60.0  # embedded at once: bounds memory, and on a CPU more is no faster
WAITING = 512  # windows that are scored at once: one of them alone takes nearly as long


@dataclass
class ClipResult:
    """What was found out about a recording; `error` says why it was nothing."""

    asked: Asked
    machine: MachineClass
    threshold: float | None
    seconds: float | None = None
    input: str = OK  # its state, as `listen` has it: asd.detector.input
    states: Mapping[str, int] = field(default_factory=dict)  # of its windows
    remarks: list[str] = field(default_factory=list)
    error: str | None = None
    begins_s: list[float] = field(default_factory=list)  # of the windows that it was heard in
    scores: list[float] = field(default_factory=list)  # of these windows
    parts: list[dict[str, float]] = field(default_factory=list)  # member of a fused scorer → what it says of a window
    spectra: list[np.ndarray] = field(default_factory=list)  # of these windows, (M,) each, time-mean log-mel in dB
    why: Explanation | None = None  # where it was asked for: asd.detector.why

    @property
    def path(self) -> Path:
        return self.asked.path

    @property
    def all_remarks(self) -> list[str]:
        """Those on its machine and on its windows as well."""
        return [*filter(None, [self.asked.note]), *in_windows(self.states), *self.remarks]

    @property
    def score(self) -> float | None:
        """The mean over the windows, as a clip's score is everywhere."""
        return float(np.mean(self.scores)) if self.error is None else None

    @property
    def members(self) -> dict[str, float]:
        """Member of a fused scorer → its mean over the windows, largest first; empty of a scorer that stands alone."""
        if self.error is not None or not self.parts:
            return {}
        means = {name: float(np.mean([part[name] for part in self.parts])) for name in self.parts[0]}
        return dict(sorted(means.items(), key=lambda pair: -pair[1]))

    @property
    def decision(self) -> str | None:
        """None where there is no score, or no threshold to hold it against."""
        if self.score is None or self.threshold is None:
            return None
        return "anomaly" if self.score > self.threshold else "normal"

    @property
    def windows_above(self) -> int | None:
        """How many windows score above the threshold."""
        return None if self.threshold is None else sum(score > self.threshold for score in self.scores)


def make_cut(file: DetectorFile, window_s: float | None, overlap: float) -> Cut:
    """How recordings are cut: as in evaluation, or into windows of a length of one's own choice."""
    if not 0 <= overlap < 1:
        raise UserError(f"--overlap {overlap:g}: give a number from 0 to below 1")
    rate = file.sample_rate
    if window_s is None:
        length, longest = round(file.clip_s * rate), round(file.longest_s * rate)
    elif file.fixed_length:
        raise UserError(
            f"--window {window_s:g}: this detector's network takes {file.clip_s:g} s at a time and no other"
        )
    elif not 0.05 <= window_s <= 3600:
        raise UserError(f"--window {window_s:g}: give a number of seconds from 0.05 to 3600")
    else:
        length = longest = round(window_s * rate)
    return Cut(length, max(1, round(length * (1 - overlap))), longest, file.fixed_length)


def judge(
    detector: Detector,
    asked: Sequence[Asked],
    target: Target,
    cut: Cut,
    progress: Callable[[float], None] = lambda done: None,
) -> list[ClipResult]:
    """A result on each recording, by its own machine, in order. progress: told how many are done, in fractions.

    Samples of a batch of windows are in memory, whatever the recordings' lengths.
    """
    classes, thresholds = detector.file.classes, detector.chosen.thresholds
    results = [ClipResult(one, classes[one.own], thresholds.get(one.own)) for one in asked]
    heard = 0
    for own in dict.fromkeys(one.own for one in asked):
        hearing = _WindowBatcher(detector.set_on(own))
        for result in (result for result in results if result.asked.own == own):
            try:
                for done, window in _windows(result, target, cut, detector.file.heard):
                    hearing.add(result, window)
                    progress(heard + done)
                if not hearing.holds(result):
                    result.error = f"no sound: {OF_RECORDINGS[result.input]}"
            except BadFileError as error:
                result.input, result.error = state_of_unread(result.path, error), error.detail
            heard += 1
            progress(heard)
        hearing.finish()
    return results


def _windows(result: ClipResult, target: Target, cut: Cut, heard: Heard | None) -> Iterator[tuple[float, Window]]:
    """(share of the recording that is read, window) of those that hold sound."""
    recorded = Recorded.of(result.path, target, heard)
    result.seconds = recorded.recording.seconds
    for window, state in recorded.windows(cut):
        result.input, result.states = recorded.state, recorded.states
        result.remarks = recorded.remarks()
        if state not in NOTHING:
            yield min(window.begin_s / result.seconds, 1.0), window


class _WindowBatcher:
    """Gathers windows of one length into batches, embeds these, and scores what was embedded now and then."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._room = BATCH_AUDIO_S * detector.file.sample_rate
        self._batch: list[tuple[ClipResult, Window]] = []
        self._embedded: list[Columns] = []
        self._waiting: list[tuple[ClipResult, float]] = []  # embedded, not scored yet: where these windows begin, s

    def add(self, result: ClipResult, window: Window) -> None:
        """Take one more window of a recording."""
        length = len(window.samples)
        if self._batch and (length != len(self._batch[0][1].samples) or (len(self._batch) + 1) * length > self._room):
            self._embed()
        self._batch.append((result, window))

    def holds(self, result: ClipResult) -> bool:
        """Whether a window of the recording was taken."""
        waiting = (*self._batch, *self._waiting)
        return bool(result.scores) or result.error is not None or any(own is result for own, _ in waiting)

    def finish(self) -> None:
        """Score all that is left."""
        self._embed()
        self._score()

    def _embed(self) -> None:
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        try:
            columns = self._detector.embed(np.stack([window.samples for _, window in batch]), len(self._waiting))
        except UserError as error:  # too short, all of them
            for result, _ in batch:
                result.input, result.error = TOO_SHORT, str(error)
            return
        self._embedded.append(columns)
        self._waiting += [(result, window.begin_s) for result, window in batch]
        if len(self._waiting) >= WAITING:
            self._score()

    def _score(self) -> None:
        if not self._waiting:
            return
        scores, parts = self._detector.score(self._embedded), self._detector.parts(self._embedded)
        spectra = self._detector.table(self._embedded).per_clip().features.numpy()
        for place, ((result, begin_s), score) in enumerate(zip(self._waiting, scores, strict=True)):
            result.begins_s.append(begin_s)
            result.scores.append(float(score))
            result.spectra.append(spectra[place])
            result.parts.append({name: float(column[place]) for name, column in parts.items()})
            if not math.isfinite(score):
                result.error = "its score is not a finite number"
        self._embedded, self._waiting = [], []
