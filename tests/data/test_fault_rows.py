"""Known faults in the training clips: kept out of splits, and in rows of their own."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from asd.data.loader import Loader, training_requests
from asd.data.manifest import LABEL_NORMAL, Manifest, load_manifest
from asd.data.proxy import with_proxy_classes
from asd.data.streams import StreamsConfig, unused_faults
from asd.data.subset import NO_CLASS, restrict
from tests.support.streams import CROP, plan_of, refusal, splits_of


@pytest.fixture(scope="module")
def faulty(fault_set: Path) -> Manifest:
    return load_manifest(fault_set)


def test_known_faults_are_in_no_split(faulty: Manifest) -> None:
    splits = splits_of(faulty, 0.2)
    assert len(faulty.known_faults) == 4 * 2
    assert faulty.file.format == 4
    assert all("train-anomaly" in key for key in faulty.strings("key", faulty.known_faults))
    for part in (splits.train, splits.validation, splits.test, faulty.training_clips):
        assert not np.intersect1d(part, faulty.known_faults).size
    assert set(faulty.label[splits.train]) == set(faulty.label[splits.validation]) == {LABEL_NORMAL}
    assert np.bincount(faulty.class_index[splits.test]).tolist() == [6] * 4
    finer = with_proxy_classes(faulty, "attributes")
    assert finer.proxy is not None
    assert set(finer.proxy.of_clip[faulty.known_faults]) == {NO_CLASS}
    fans = restrict(faulty, ["fan"])
    assert len(fans.known_faults) == 2 * 2


@pytest.mark.parametrize("rows", [1, 4, 5])
def test_known_faults_lie_among_the_own_rows(faulty: Manifest, rows: int) -> None:
    """So many in each batch, all of them in turn; the normal clips of an epoch each once."""
    plan = plan_of(faulty, StreamsConfig(fault_rows=rows), batch=16)
    epochs = [plan.epoch(epoch) for epoch in range(4)]
    known = [np.isin(plan_["all"], faulty.known_faults) for plan_ in epochs]
    for epoch, mask in zip(epochs, known, strict=True):
        assert list(epoch) == ["all"]
        assert epoch["all"].shape == (48 // (16 - rows), 16)
        assert (mask.sum(1) == rows).all()
        own = epoch["all"][~mask]
        assert len(set(own.tolist())) == len(own)
        for ranks in (2, 4):
            of_rank = mask.reshape(len(mask), ranks, -1).sum(2)
            assert (of_rank.max(1) - of_rank.min(1) <= 1).all()
    drawn = np.concatenate([epoch["all"][mask] for epoch, mask in zip(epochs, known, strict=True)])
    counts = np.bincount(drawn, minlength=len(faulty))[faulty.known_faults]
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1


def test_batches_say_which_clips_are_known_faults(faulty: Manifest, small_manifest: Manifest) -> None:
    plan = plan_of(faulty, StreamsConfig(fault_rows=4), batch=16)
    loader = Loader(faulty, torch.device("cpu"), threads=1, prefetch=1)
    batch = next(iter(loader.stream(islice(training_requests(faulty, plan, CROP, 0, 0, 0, 1), 1))))
    assert batch.is_fault is not None
    assert batch.is_fault.tolist() == np.isin(batch.clip_index.numpy(), faulty.known_faults).tolist()
    assert batch.rows(0, 4).is_fault.sum() + batch.rows(4, 16).is_fault.sum() == 4
    loader.close()


def test_known_faults_are_asked_for_where_there_are_some(faulty: Manifest, domain_manifest: Manifest) -> None:
    assert "no training clip is labelled anomaly" in refusal(domain_manifest, StreamsConfig(fault_rows=2))
    assert unused_faults(StreamsConfig(), domain_manifest) is None
    assert unused_faults(StreamsConfig(fault_rows=2), faulty) is None
    assert (unused_faults(StreamsConfig(), faulty) or "").startswith(
        "8 training clips are labelled anomaly and left out"
    )
