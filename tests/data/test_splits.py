"""Which clips train, which validate, which are tested."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest

from asd.data.splits import make_splits, subset_per_class
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
