"""A detector set on a machine anew by normal recordings, with the network as it is: banks, scales, thresholds.

Legend: n clips (windows of recordings).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asd.audio.header import BadFileError
from asd.audio.levels import FAULTS, SCALE
from asd.audio.recording import Target
from asd.audio.windows import Cut, Window
from asd.data.heard import Heard
from asd.detector.detector import Detector
from asd.detector.file import FittedScorer
from asd.detector.input import NOTHING, OF_RECORDINGS
from asd.detector.normals import Normals, Shown, core_rows
from asd.detector.recorded import Recorded
from asd.errors import UserError, printable
from asd.evaluate.embed import Columns
from asd.scorers import EmbeddingTable, ScorerConfig, build_scorer, reads, scorer_label
from asd.scorers.fused import Fused
from asd.scorers.per_clip import score_of_clips
from asd.scorers.state import restored, state_of

BATCH_AUDIO_S = 60.0  # embedded at once
OF_CLASSES = {"logits": "the network's class output", "faults": "a head that was trained for each machine"}


def check_scorers(configs: Sequence[ScorerConfig], is_new: bool) -> None:
    """UserError that names the first scorer that new recordings cannot be taught to.

    is_new: the network was not trained with the machine.
    """
    for config in configs:
        for column in sorted(reads(config)):
            why = f"reads {OF_CLASSES[column]}, which has none for a new machine" if column in OF_CLASSES else ""
            if column == "residuals":
                why = "needs the residuals of all training clips, which a detector does not keep"
            elif not is_new:
                continue
            if why:
                raise UserError(f"scorer {scorer_label(config)} {why}: keep others, by --scorer")


def hear(
    detector: Detector,
    paths: Sequence[Path],
    recording: Sequence[int] | None,
    target: Target,
    cut: Cut,
    first: int,
    kept: set[str],
    progress: Callable[[float], None] = lambda done: None,
) -> tuple[Normals, Tensor, list[Recorded]]:
    """Files as rows: their windows are clips from index `first` on; which file (n,) each of these clips is of; and what
    is to be said of the files.

    recording: of each file, what its windows are left out with; None: one by one. UserError that names a file that
    cannot be read, or holds no sound.
    """
    shown: list[Shown] = []
    places: list[int] = []
    embedded: list[Columns] = []
    recorded: list[Recorded] = []
    for batch in _batches(paths, target, cut, detector.file.sample_rate, detector.file.heard, recorded, progress):
        try:
            embedded.append(detector.embed(np.stack([window.samples for _, window in batch]), len(shown)))
        except UserError as error:  # too short, all of them
            raise UserError(f"{paths[batch[0][0]]}: {error}") from None
        for place, window in batch:
            name = paths[place].name + (f" from {window.begin_s:g} s" if window.begin_s else "")
            shown.append(Shown.of(printable(name), window.near, detector.file.sample_rate))
            places.append(place)
    rows = detector.table(embedded)
    clips, position = rows.clips()
    file_of = torch.tensor(places, dtype=torch.int64)
    own = torch.arange(len(clips)) if recording is None else torch.tensor(recording, dtype=torch.int64)[file_of]
    rows = replace(
        rows,
        clip_index=first + position,
        recording=first + own[position],
        held_out=torch.ones_like(position),
    )
    return Normals.of(rows, kept, shown), file_of, recorded


def _batches(
    paths: Sequence[Path],
    target: Target,
    cut: Cut,
    rate: int,
    heard: Heard | None,
    recorded: list[Recorded],
    progress: Callable[[float], None],
) -> Iterator[list[tuple[int, Window]]]:
    """(number of the recording, window) of all recordings in order, in batches of one length; recorded: is filled with
    what is to be said of them."""
    batch: list[tuple[int, Window]] = []
    for place, path in enumerate(paths):
        try:
            found = Recorded.of(path, target, heard)
            recorded.append(found)
            for window, _ in found.windows(cut):
                length = len(window.samples)
                if batch and (length != len(batch[0][1].samples) or (len(batch) + 1) * length > BATCH_AUDIO_S * rate):
                    yield batch
                    batch = []
                batch.append((place, window))
        except BadFileError as error:
            raise UserError(f"{path}: {error.detail}") from None
        if soundless := next((state for state in NOTHING if found.states[state]), None):
            count = f"{found.states[soundless]} of {found.states.total()} windows"
            raise UserError(
                f"{path}: {count} {soundless} ({OF_RECORDINGS[soundless]}): leave it out, or record it again"
            )
        if SCALE in found.recording.done.faults:
            raise UserError(f"{path}: windows that {FAULTS[SCALE]}")
        progress(place + 1)
    if batch:
        yield batch


def join(former: Normals | None, new: Normals, count: int, first: Tensor) -> tuple[Normals, Normals]:
    """(all rows, the core set of at most `count`); first: clips that the core set holds in any case."""
    both = new if former is None else former.join(new)
    table = both.table(0, {})
    return both, both.select(core_rows(table, count, first))


def refit(
    fitted: FittedScorer, own: int, core: EmbeddingTable, rows: EmbeddingTable, flipped: Sequence[int]
) -> tuple[object, np.ndarray]:
    """What a scorer learns of a machine from its core set, and the scores (n,) of the clips of all rows, each as if its
    recording had not been learnt. UserError where no clip has a score that way."""
    scorer = build_scorer(fitted.config)
    scorer.fit(core)
    if isinstance(scorer, Fused) and fitted.config.name == "fused" and fitted.config.trained:
        former = restored(fitted.config, {known: fitted.state[known] for known in list(fitted.state)[:1]})
        assert isinstance(former, Fused)
        scorer.share = former.share  # what the network had learnt it was measured by all machines
    scores = score_of_clips(scorer, rows, flipped, core)
    finite = np.isfinite(scores)
    if not finite.any():
        raise UserError(f"scorer {fitted.label} has nothing to score a recording by: give two or more")
    return state_of(fitted.config, scorer)[own], np.where(finite, scores, np.nan)


def lowered(
    threshold: float, missed: Sequence[float], normal: np.ndarray, may_be_above: int
) -> tuple[float, list[float]]:
    """The threshold, below as many of the scores of missed faults as it may be, and those that stay below it.

    may_be_above: of the normal scores (n,), by the rule of the threshold.
    """
    for score in sorted((score for score in missed if score <= threshold), reverse=True):
        below = float(np.nextafter(score, -np.inf))
        if int(np.sum(normal > below)) > may_be_above:
            break
        threshold = below
    return threshold, [score for score in missed if score <= threshold]
