"""Finer classes than machines: machine, domain and attributes of training clips."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from asd.data.loader import Loader, Request
from asd.data.manifest import DOMAINS, Manifest, load_manifest
from asd.data.proxy import NO_CLUSTER, with_proxy_classes
from asd.data.subset import NO_CLASS, restrict


@pytest.fixture(scope="module")
def factory(factory2022) -> Manifest:
    return load_manifest(factory2022)


def told(manifest: Manifest, clips: np.ndarray) -> list[tuple[str, str, str, str]]:
    return list(
        zip(*(manifest.strings(n, clips) for n in ("machine_type", "machine_id", "domain", "attributes")), strict=True)
    )


def test_machines_are_left_as_they_are(factory):
    assert with_proxy_classes(factory, "machine") is factory
    assert factory.taught == [str(own) for own in factory.classes]


def test_every_domain_and_text_of_attributes_of_a_machine_is_a_class(factory):
    divided, train = with_proxy_classes(factory, "attributes"), factory.select("train")
    proxy, found = divided.proxy, told(factory, train)
    assert proxy is not None
    assert len(proxy.names) == len(set(found)) > 2 * len(factory.classes)
    own = proxy.of_clip[train]
    assert len(set(zip(own.tolist(), found, strict=True))) == len(set(found))  # one to one
    assert Counter(own.tolist()).keys() == set(range(len(proxy.names)))
    assert (np.array(proxy.machine)[own] == factory.class_index[train]).all()
    others = np.setdiff1d(np.arange(len(factory)), train)
    assert (proxy.of_clip[others] == NO_CLASS).all()
    first = f"{found[0][0]}/{found[0][1]} {found[0][2]} {found[0][3]}"
    assert proxy.names[own[0]] == divided.taught[own[0]] == first.strip()
    assert (divided.class_index == factory.class_index).all()


def test_they_lie_machine_by_machine_in_the_order_of_their_names(factory):
    proxy = with_proxy_classes(factory, "attributes").proxy
    assert list(proxy.machine) == sorted(proxy.machine)
    assert set(proxy.machine) == set(range(len(factory.classes)))
    assert len(set(proxy.names)) == len(proxy.names)


def test_clips_of_no_machine_have_no_class(factory):
    fans = restrict(factory, ["fan"])
    proxy = with_proxy_classes(fans, "attributes").proxy
    assert {name.partition("/")[0] for name in proxy.names} == {"fan"}
    assert ((proxy.of_clip == NO_CLASS) == ~np.isin(np.arange(len(fans)), fans.select("train"))).all()


def test_sets_without_domains_and_attributes_have_their_machines(small_manifest):
    proxy = with_proxy_classes(small_manifest, "attributes").proxy
    assert proxy.names == tuple(small_manifest.taught)
    train = small_manifest.select("train")
    assert (proxy.of_clip[train] == small_manifest.class_index[train]).all()


def test_batches_tell_both(factory):
    divided = with_proxy_classes(factory, "attributes")
    clips = np.concatenate([factory.select("train")[:5], factory.select("test")[:3]])
    for manifest in (factory, divided):
        loader = Loader(manifest, torch.device("cpu"), threads=1, prefetch=1)
        (batch,) = loader.stream([Request(clips, np.zeros(8, dtype=np.int64), 100)])
        assert batch.class_index.tolist() == factory.class_index[clips].tolist()
        expected = factory.class_index if manifest is factory else divided.proxy.of_clip
        assert batch.target.tolist() == expected[clips].tolist()
        (half, other) = batch.split(2)
        assert torch.cat([half.target, other.target]).equal(batch.target)
        loader.close()
    assert set(DOMAINS) >= set(factory.strings("domain", clips))


def test_clusters_divide_further(factory):
    clusters = np.full(len(factory), NO_CLUSTER, dtype=np.int32)
    train = factory.select("train")
    first = train[factory.class_index[train] == 0]
    clusters[first] = np.arange(len(first)) % 3
    plain, divided = (with_proxy_classes(factory, "attributes", own) for own in (None, clusters))
    assert (
        divided.proxy.of_clip[train[factory.class_index[train] != 0]].min()
        == max(index for index, own in enumerate(divided.proxy.machine) if own == 0) + 1
    )
    for clip in first.tolist():
        name = plain.taught[plain.proxy.of_clip[clip]]
        assert divided.taught[divided.proxy.of_clip[clip]] == f"{name} cluster {clusters[clip]}"
    assert divided.taught[len(divided.taught) - 1] == plain.taught[len(plain.taught) - 1]
    by_cluster = with_proxy_classes(factory, "machine", clusters)
    assert {name for name in by_cluster.taught if name.startswith(str(factory.classes[0]))} <= {
        f"{factory.classes[0]} {domain} cluster {own}" for domain in ("source", "target") for own in range(3)
    }
