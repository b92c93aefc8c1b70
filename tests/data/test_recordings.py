"""Which clips are of one recording, and that who leaves clips out leaves recordings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from asd.data.manifest import CLIPS_SCHEMA, Manifest
from asd.data.recordings import recording_of


def with_recordings(manifest: Manifest, names: Sequence[str]) -> Manifest:
    """The same set, its clips cut from these recordings."""
    position = manifest.table.schema.get_field_index("recording")
    column = manifest.table.set_column(position, CLIPS_SCHEMA.field("recording"), pa.array(names, pa.string()))
    return replace(manifest, table=column)


def test_a_clip_without_a_name_is_a_recording_of_its_own(small_manifest):
    assert recording_of(small_manifest).tolist() == list(range(len(small_manifest)))


def test_a_name_joins_the_clips_of_one_class_and_split(small_manifest):
    names = ["" if clip % 3 == 0 else f"day {clip % 3}" for clip in range(len(small_manifest))]
    found = recording_of(with_recordings(small_manifest, names))
    split = np.array(small_manifest.strings("split"))
    for clip, name in enumerate(names):
        same = [
            other
            for other, its in enumerate(names)
            if its == name != ""
            and split[other] == split[clip]
            and small_manifest.class_index[other] == small_manifest.class_index[clip]
        ]
        assert found[clip] == (same[0] if same else clip)
