"""Development and evaluation clips of DCASE Task 2, split as the organisers do: by whose names carry a label.

Labels of the evaluation half come from a list of its own, so a model may be chosen on the first half alone.
"""

from __future__ import annotations

import re

import numpy as np

from asd.metrics.clip_scores import ClipScores

DEVELOPMENT, EVALUATION = HALVES = ("development", "evaluation")
NAME_2020 = re.compile(r"(normal|anomaly)_id_(\d\d)_\d+\.wav()")
NAME_FROM_2021 = re.compile(r"section_(\d\d)_(source|target)_test_(normal|anomaly)_\d+(?:_.*)?\.wav")


def carries_label(layout: str, file_name: str) -> bool:
    """Whether a test clip's name says normal or anomaly, by the layout's rule; True in layouts without such a rule."""
    if not layout.startswith("dcase"):
        return True
    pattern = NAME_2020 if layout == "dcase2020" else NAME_FROM_2021
    return pattern.fullmatch(file_name) is not None


def half_rows(layout: str, clips: ClipScores) -> dict[str, np.ndarray]:
    """Half → indices of its clips, `development` first; all of them as that where a half has no labelled clip."""
    named = np.array([carries_label(layout, name) for name in clips.file_name], dtype=bool)
    if not (clips.known & named).any() or not (clips.known & ~named).any():
        return {DEVELOPMENT: np.arange(len(clips))}
    return {DEVELOPMENT: np.flatnonzero(named), EVALUATION: np.flatnonzero(~named)}
