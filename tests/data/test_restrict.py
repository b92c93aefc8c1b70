"""A part of a set: the same clips, renumbered classes."""

from __future__ import annotations

import numpy as np
import pytest

from asd.data.manifest import Manifest, restrict
from asd.errors import UserError


def test_keeps_the_clips_of_the_named_types_with_their_own_classes(small_manifest: Manifest) -> None:
    part = restrict(small_manifest, ["valve", "fan"])
    assert [str(c) for c in part.classes] == ["fan/00", "fan/02", "valve/04"]
    names = small_manifest.strings("machine_type")
    kept = np.flatnonzero(np.isin(names, ["fan", "valve"]))
    assert part.strings("key") == small_manifest.strings("key", kept)
    for index, (machine, unit) in enumerate(zip(part.strings("machine_type"), part.strings("machine_id"), strict=True)):
        assert str(part.classes[part.class_index[index]]) == f"{machine}/{unit}"
    assert part.fingerprint == small_manifest.fingerprint
    assert (part.select("train") == np.flatnonzero(np.array(part.strings("split")) == "train")).all()


def test_all_types_or_none_named_is_the_whole_set(small_manifest: Manifest) -> None:
    assert restrict(small_manifest, ()) is small_manifest
    whole = restrict(small_manifest, ["fan", "pump", "valve"])
    assert whole.classes == small_manifest.classes
    assert (whole.class_index == small_manifest.class_index).all()


def test_an_unknown_type_is_refused(small_manifest: Manifest) -> None:
    with pytest.raises(UserError, match="no machine type slider: it holds fan, pump, valve"):
        restrict(small_manifest, ["slider"])
