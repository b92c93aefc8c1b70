"""A part of a set: the same clips, classes for the named machines alone."""

from __future__ import annotations

import numpy as np
import pytest

from asd.data.manifest import Manifest
from asd.data.subset import NO_CLASS, restrict
from asd.errors import UserError


def test_the_named_types_keep_their_classes_and_the_others_have_none(small_manifest: Manifest) -> None:
    part = restrict(small_manifest, ["valve", "fan"])
    assert [str(c) for c in part.classes] == ["fan/00", "fan/02", "valve/04"]
    assert part.strings("key") == small_manifest.strings("key")
    machines = list(zip(part.strings("machine_type"), part.strings("machine_id"), strict=True))
    for (machine, unit), index in zip(machines, part.class_index, strict=True):
        assert index == NO_CLASS if machine == "pump" else str(part.classes[index]) == f"{machine}/{unit}"
    assert part.fingerprint == small_manifest.fingerprint


def test_clips_without_a_class_are_in_no_split_but_among_the_training_clips(small_manifest: Manifest) -> None:
    part = restrict(small_manifest, ["valve", "fan"])
    split, machine = np.array(part.strings("split")), np.array(part.strings("machine_type"))
    assert part.select("train").tolist() == np.flatnonzero((split == "train") & (machine != "pump")).tolist()
    assert part.select("test").tolist() == np.flatnonzero((split == "test") & (machine != "pump")).tolist()
    assert part.training_clips.tolist() == np.flatnonzero(split == "train").tolist()


def test_ids_are_taken_of_the_named_types(small_manifest: Manifest) -> None:
    assert [str(c) for c in restrict(small_manifest, ["fan"], ["02"]).classes] == ["fan/02"]
    assert [str(c) for c in restrict(small_manifest, (), ["00"]).classes] == ["fan/00", "pump/00"]
    with pytest.raises(UserError, match="no machine ID 04: it holds 00, 02"):
        restrict(small_manifest, ["fan"], ["04"])


def test_all_types_or_none_named_is_the_whole_set(small_manifest: Manifest) -> None:
    assert restrict(small_manifest) is small_manifest
    whole = restrict(small_manifest, ["fan", "pump", "valve"])
    assert whole.classes == small_manifest.classes
    assert (whole.class_index == small_manifest.class_index).all()


def test_an_unknown_type_is_refused(small_manifest: Manifest) -> None:
    with pytest.raises(UserError, match="no machine type slider: it holds fan, pump, valve"):
        restrict(small_manifest, ["slider"])
