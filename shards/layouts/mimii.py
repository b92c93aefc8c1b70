"""MIMII: normal and abnormal clips of each machine ID, no split."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL
from asd.errors import UserError
from shards.layouts.clip import Choices, Corpus, SourceClip, make_key
from shards.layouts.folders import Misfit

ID = re.compile(r"id_(\d\d)")
NAME = re.compile(r"\d{8}\.wav")
CONDITIONS = {"normal": ("train", LABEL_NORMAL), "abnormal": ("test", LABEL_ANOMALY)}
MISPLACED = Misfit("do not lie in <machine type>/id_II/normal or <machine type>/id_II/abnormal")
MISNAMED = Misfit("are not named NNNNNNNN.wav")


def read(path: Path) -> SourceClip | Misfit:
    """`<type>/id_II/(normal|abnormal)/NNNNNNNN.wav`.

    The key does not name the split, so that one clip given twice is seen whichever part it was drawn into.
    """
    condition, unit = path.parent.name, path.parent.parent
    machine_id, machine_type = ID.fullmatch(unit.name), unit.parent.name
    if condition not in CONDITIONS or machine_id is None:
        return MISPLACED
    if NAME.fullmatch(path.name) is None:
        return MISNAMED
    split, label = CONDITIONS[condition]
    key = make_key(machine_type, unit.name, condition, path.stem)
    return SourceClip(path, key, machine_type, machine_id[1], split, label, "/".join(path.parts[-3:]))


def draw_test(corpus: Corpus, choices: Choices) -> Corpus:
    """All abnormal clips and some normal ones of each ID become the test.

    The normal test clips are drawn by seed: `test_normals` an ID, by default as many as there are abnormal ones, but
    one normal clip always stays for training. Raises UserError where `test_normals` leaves none.
    """
    units = defaultdict(list)
    for clip in corpus.clips:
        units[clip.machine_class].append(clip)
    corpus.clips = [clip for _, unit in sorted(units.items()) for clip in _draw(unit, choices)]
    return corpus


def _draw(clips: Sequence[SourceClip], choices: Choices) -> list[SourceClip]:
    """The clips of one machine ID."""
    normals = sorted((clip for clip in clips if clip.label == LABEL_NORMAL), key=lambda clip: clip.path.name)
    abnormals = [clip for clip in clips if clip.label == LABEL_ANOMALY]
    unit, count = "/".join(clips[0].machine_class), choices.test_normals
    if count is None:
        count = min(len(abnormals), max(len(normals) - 1, 0))
    elif count >= len(normals):
        raise UserError(
            f"--test-normals {count} leaves no training clip of {unit}, which has {len(normals)} normal ones"
        )
    for number in random.Random(f"{choices.seed}/{unit}").sample(range(len(normals)), count):
        normals[number] = replace(normals[number], split="test")
    return abnormals + normals
