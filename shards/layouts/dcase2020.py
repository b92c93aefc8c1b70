"""DCASE 2020 Task 2: machine IDs, no domains, eight digits."""

from __future__ import annotations

import re
from pathlib import Path

from asd.data.manifest import SPLITS
from shards.layouts.clip import LABELS, SourceClip, make_key
from shards.layouts.folders import Misfit

NAME = re.compile(r"(?:(normal|anomaly)_)?id_(\d\d)_\d{8}\.wav")
MISPLACED = Misfit("do not lie in <machine type>/train or <machine type>/test")
MISNAMED = Misfit("are not named (normal|anomaly)_id_II_NNNNNNNN.wav, in test also id_II_NNNNNNNN.wav")


def read(path: Path) -> SourceClip | Misfit:
    """`<any depth>/<type>/(train|test)/(normal|anomaly)_id_II_NNNNNNNN.wav`; evaluation tests carry no label.

    Machine type and split are the two nearest folders; label and ID come from the file name alone.
    """
    split, machine_type = path.parent.name, path.parent.parent.name
    if split not in SPLITS:
        return MISPLACED
    match = NAME.fullmatch(path.name)
    if match is None or (split == "train" and match[1] is None):
        return MISNAMED
    key = make_key(machine_type, split, path.stem)
    return SourceClip(path, key, machine_type, match[2], split, LABELS[match[1]], path.name)
