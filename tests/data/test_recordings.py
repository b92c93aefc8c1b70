"""Which clips are of one recording, and that who leaves clips out leaves recordings out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from asd.data.manifest import Manifest
from asd.data.recordings import evidence_of, recording_of
from asd.data.splits import make_splits
from tests.support.sets import with_recordings


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


def in_recordings(manifest: Manifest, clips_each: int) -> Manifest:
    """The same set, so many clips of a class and split after one another to a recording."""
    names, number = [], dict[tuple[str, str], int]()
    for place in zip(manifest.class_index.tolist(), manifest.strings("split"), strict=True):
        number[place] = number.get(place, -1) + 1
        names.append(f"day {number[place] // clips_each}")
    return with_recordings(manifest, names)


@pytest.mark.parametrize(("clips_each", "held_out"), [(1, 2), (2, 2), (3, 3), (6, 6), (12, 12)])
@pytest.mark.parametrize("seed", range(3))
def test_no_recording_both_trains_and_validates(small_manifest, clips_each, held_out, seed):
    manifest = in_recordings(small_manifest, clips_each)
    splits, recording = make_splits(manifest, seed, 0.1), recording_of(manifest)
    assert not set(recording[splits.train]) & set(recording[splits.validation])
    assert np.bincount(manifest.class_index[splits.validation]).tolist() == [held_out] * 4  # round(0.1 · 24) or more
    assert sorted([*splits.train, *splits.validation]) == sorted(manifest.select("train"))


def test_the_split_goes_by_names_not_by_the_order_in_the_shards(small_manifest):
    manifest = in_recordings(small_manifest, 4)
    order = np.random.default_rng(0).permutation(len(manifest))
    shuffled = replace(manifest, table=manifest.table.take(pa.array(order)))
    plain, other = (
        set(m.strings("key", make_splits(m, seed=1, val_fraction=0.1).validation)) for m in (manifest, shuffled)
    )
    assert plain == other


def test_a_recording_of_most_clips_of_its_class_trains(small_manifest):
    own = np.cumsum((small_manifest.class_index == 0) & (np.array(small_manifest.strings("split")) == "train"))
    names = ["long" if n <= 20 else "short" for n in own]
    manifest = with_recordings(small_manifest, names)
    for seed in range(8):
        validation = make_splits(manifest, seed, 0.1).validation
        chosen = validation[manifest.class_index[validation] == 0]
        assert set(manifest.strings("recording", chosen)) == {"short"}
        assert len(chosen) == 4


def test_clips_validate_where_a_class_has_one_recording_alone(small_manifest):
    manifest = with_recordings(small_manifest, ["the only one"] * len(small_manifest))
    splits = make_splits(manifest, 0, 0.1)
    assert splits.validation.tolist() == make_splits(small_manifest, 0, 0.1).validation.tolist()
    train = manifest.select("train")
    assert evidence_of(manifest, train).tolist() == train.tolist()


def test_a_recording_with_clips_of_the_target_domain_trains_whole(domain_manifest):
    days = in_recordings(domain_manifest, 3).strings("recording")
    target = np.array(domain_manifest.strings("domain")) == "target"
    manifest = with_recordings(
        domain_manifest, ["mixed" if its or day == "day 0" else day for its, day in zip(target, days, strict=True)]
    )
    recording = recording_of(manifest)
    for seed in range(4):
        splits = make_splits(manifest, seed, 0.25)
        assert set(manifest.class_index[splits.validation]) == set(range(6))
        assert not set(recording[splits.validation]) & set(recording[splits.train])
        assert "mixed" not in manifest.strings("recording", splits.validation)
