"""Clips of a run that an export is made from, checked on, and described by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from asd.commands.open_run import CheckpointEmbedder, Run
from asd.data.manifest import LABEL_ANOMALY, MachineClass
from asd.data.recordings import recording_of
from asd.data.splits import subset_per_class
from asd.detector import DetectorFile, FittedScorer
from asd.detector.evidence import Learnt, Tested, measured
from asd.detector.formats.base import Clip, Clips
from asd.metrics import read_scores

CALIBRATION_CLIPS = 10  # of each machine


def clips_of(embedder: CheckpointEmbedder, file: DetectorFile) -> Clips:
    """The test clips of the run, or its training clips where it has none; and some of its training clips."""
    splits, manifest = embedder.setup.data.splits, embedder.setup.data.manifest
    checked, words = (splits.test, "test clips") if len(splits.test) else (splits.train, "training clips")
    few = subset_per_class(manifest, splits.train, 0, CALIBRATION_CLIPS)
    return Clips(words, lambda: _cut(embedder, file, checked), lambda: _cut(embedder, file, few))


def _cut(embedder: CheckpointEmbedder, file: DetectorFile, clips: np.ndarray) -> Iterator[Clip]:
    """Each clip in windows of the detector's length, side by side; what is left at its end is not heard."""
    manifest, length = embedder.setup.data.manifest, round(file.clip_s * file.sample_rate)
    for index in clips.tolist():
        samples = embedder.samples(index, both=file.reference_weight is not None)
        windows = len(samples) // length
        cut = samples[: windows * length].reshape(windows, length, *samples.shape[1:])
        yield Clip(int(manifest.class_index[index]), bool(manifest.label[index] == LABEL_ANOMALY), cut)


def learnt_clips(embedder: CheckpointEmbedder) -> dict[int, Learnt]:
    """Class → the normal clips that network, scorers or thresholds know."""
    manifest, splits = embedder.setup.data.manifest, embedder.setup.data.splits
    clips = np.concatenate([splits.train, splits.validation])
    recording, own = recording_of(manifest)[clips], manifest.class_index[clips]
    found = {}
    for index in range(len(manifest.classes)):
        rows = own == index
        hours = float(manifest.frames[clips[rows]].sum()) / manifest.sample_rate / 3600
        found[index] = Learnt(clips=int(rows.sum()), recordings=len(np.unique(recording[rows])), hours=hours)
    return found


def tested_by(run: Run, step: int, classes: Sequence[MachineClass], scorers: Sequence[FittedScorer]) -> Tested | None:
    """What labelled test clips say of this checkpoint, where the run or `eval.py score` has evaluated it with the first
    of the scorers."""
    labels = [scorer.label for scorer in scorers]
    for folder in (run.folder.evaluation(step), run.folder.root / "scores" / f"step_{step:08d}"):
        if not (folder / "report.json").is_file():
            continue
        found = read_scores(folder / "scores.csv")
        known = found.select(np.flatnonzero(found.known))
        kinds = {len(set(known.label[rows])) for ids in known.groups.values() for rows in ids.values()}
        if labels[0] in found.scores and 2 in kinds:
            return measured(known, classes, labels, scorers[0].thresholds)
    return None
