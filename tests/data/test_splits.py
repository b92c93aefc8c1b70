"""Which clips train, which validate, which are tested."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest

from asd.data.splits import make_splits, split_validation, subset_per_class
from asd.errors import UserError


def test_training_validation_and_test_share_nothing(small_manifest):
    splits = make_splits(small_manifest, seed=0, val_fraction=0.1)
    everything = np.concatenate([splits.train, splits.validation, splits.test])
    assert sorted(everything) == list(range(len(small_manifest)))
    assert splits.test.tolist() == small_manifest.select("test").tolist()
    assert np.bincount(small_manifest.class_index[splits.validation]).tolist() == [2] * 4  # round(0.1 · 24)
    assert (small_manifest.label[splits.validation] == 0).all()
    assert (np.diff(splits.train) > 0).all()


def test_splits_change_with_the_seed_alone(small_manifest):
    first, again, other = (make_splits(small_manifest, seed, 0.1).validation.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_clips_of_the_target_domain_all_train(domain_manifest):
    splits = make_splits(domain_manifest, seed=0, val_fraction=0.25)
    domain = np.array(domain_manifest.strings("domain"))
    assert set(domain[splits.validation]) == {"source"}
    assert np.bincount(domain_manifest.class_index[splits.validation]).tolist() == [4] * 6  # of 16 source clips each
    of_target = splits.train[domain[splits.train] == "target"]
    assert np.bincount(domain_manifest.class_index[of_target]).tolist() == [3] * 6
    assert len(splits.train) + len(splits.validation) == len(domain_manifest.select("train"))


def test_a_subset_takes_so_many_of_every_domain(domain_manifest):
    subset = subset_per_class(domain_manifest, domain_manifest.select("train"), seed=0, per_class=4)
    groups = zip(
        domain_manifest.strings("machine_type", subset),
        domain_manifest.strings("machine_id", subset),
        domain_manifest.strings("domain", subset),
        strict=True,
    )
    found = Counter(groups)
    assert {count for (_, _, domain), count in found.items() if domain == "source"} == {4}
    assert {count for (_, _, domain), count in found.items() if domain == "target"} == {3}  # all there are
    assert len(found) == 12


def test_a_class_without_training_clips_is_refused(small_manifest):
    table = small_manifest.table
    pump = pc.equal(table.column("machine_type").cast("string"), "pump")
    training = pc.equal(table.column("split").cast("string"), "train")
    without = replace(small_manifest, table=table.filter(pc.invert(pc.and_(pump, training))).combine_chunks())
    with pytest.raises(UserError, match=r"class pump/00 of .* has no training clip"):
        make_splits(without, 0, 0.1)


def test_subset_per_class_takes_so_many_of_every_class(uneven_manifest):
    train = make_splits(uneven_manifest, 0, 0.05).train
    subset = subset_per_class(uneven_manifest, train, seed=0, per_class=5)
    assert np.bincount(uneven_manifest.class_index[subset]).tolist() == [5] * 4
    assert set(subset) <= set(train)
    assert (np.diff(subset) > 0).all()
    assert subset_per_class(uneven_manifest, train[::-1].copy(), 0, 5).tolist() == subset.tolist()
    assert subset_per_class(uneven_manifest, train, 1, 5).tolist() != subset.tolist()
    assert subset_per_class(uneven_manifest, train, 0, 100).tolist() == train.tolist()
    assert subset_per_class(uneven_manifest, train, 0, None).tolist() == train.tolist()


def labelled(seed: int, counts: dict[int, int]) -> tuple[list[str], np.ndarray]:
    keys = [f"machine{c}-{i:04d}" for c, n in counts.items() for i in range(n)]
    classes = np.array([c for c, n in counts.items() for _ in range(n)])
    order = np.random.default_rng(seed).permutation(len(keys))
    return [keys[i] for i in order], classes[order]


def held_out(keys: list[str], classes: np.ndarray, seed: int, fraction: float) -> set[str]:
    train, held = split_validation(keys, np.arange(len(keys)), classes, seed, fraction)
    assert sorted([*train, *held]) == list(range(len(keys)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(held) > 0).all()
    return {keys[i] for i in held}


def test_validation_does_not_depend_on_the_order_of_clips():
    counts = {0: 400, 1: 33, 5: 200}
    chosen = [held_out(*labelled(order, counts), seed=3, fraction=0.1) for order in range(5)]
    assert all(c == chosen[0] for c in chosen)


def test_validation_of_a_class_does_not_depend_on_the_others():
    alone = held_out(*labelled(0, {1: 33}), seed=3, fraction=0.1)
    among = held_out(*labelled(0, {0: 400, 1: 33}), seed=3, fraction=0.1)
    assert alone == {key for key in among if key.startswith("machine1-")}


def test_validation_changes_with_the_seed_and_is_fair():
    keys, classes = labelled(0, {0: 100})
    hits = np.zeros(100)
    for seed in range(1000):
        chosen = held_out(keys, classes, seed, 0.1)
        hits += [key in chosen for key in keys]
    assert hits.sum() == 1000 * 10
    assert abs(hits - 100).max() < 5 * np.sqrt(1000 * 0.1 * 0.9)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, [0] * 5), (0.05, [0, 1, 1, 1, 20]), (0.9, [0, 1, 2, 9, 360])])
def test_validation_takes_a_fraction_of_every_class(fraction, expected):
    counts = dict(enumerate([1, 2, 3, 10, 400]))
    chosen = held_out(*labelled(0, counts), seed=0, fraction=fraction)
    assert [sum(key.startswith(f"machine{c}-") for key in chosen) for c in counts] == expected


@pytest.mark.parametrize(
    ("sizes", "fraction", "expected"),
    [
        ([20, 2, 1], 0.1, [2]),  # of 23 clips 2 are wanted
        ([20, 2, 1], 0.15, [2]),  # 3 are, but two of three recordings are too many
        ([10, 10, 10], 0.1, [10]),
        ([6, 6, 6, 5, 5, 3], 0.2, [6]),
        ([9, 9, 7, 4, 3, 3, 3, 2], 0.2, [3, 3, 2]),  # 8
        ([30, 30, 1], 0.05, [30]),
        ([20, 2, 1], 0.9, [20, 1]),
        ([5], 0.5, []),
    ],
)
def test_the_recordings_held_out_come_nearest_to_the_fraction(sizes, fraction, expected):
    recording = np.repeat(np.arange(len(sizes)), sizes)
    keys, classes = [f"r{number}" for number in recording], np.zeros(len(recording), dtype=np.int64)
    found = []
    for seed in range(20):
        train, held = split_validation(keys, recording, classes, seed, fraction)
        assert not set(recording[train]) & set(recording[held])
        assert len(train) + len(held) == len(recording)
        found.append(np.unique(recording[held]).tolist())
        assert sorted((sizes[one] for one in found[-1]), reverse=True) == expected
    if sizes.count(expected[0] if expected else 0) > 1:
        assert len(set(map(tuple, found))) > 1  # those of one size take turns


def test_recordings_of_one_clip_are_held_out_by_the_order_of_their_hashes():
    """The same as before there were recordings: old runs go on."""
    keys, classes = labelled(0, {0: 20, 1: 7})
    chosen = [*(f"machine0-00{n}" for n in (10, 13, 14, 18)), "machine1-0001"]
    assert sorted(held_out(keys, classes, seed=4, fraction=0.2)) == chosen
