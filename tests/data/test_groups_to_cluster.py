"""Which clips are to be divided by clusters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from asd.data.manifest import DOMAINS, Manifest, load_manifest
from asd.data.pseudo_labels import groups_to_cluster


@pytest.fixture(scope="module")
def factory(factory2022) -> Manifest:
    return load_manifest(factory2022)


def test_machines_are_divided_by_domain(factory):
    groups = groups_to_cluster(factory, "machine")
    assert len(groups) == 2 * len(factory.classes)
    for (machine, domain), clips in groups.items():
        assert set(factory.class_index[clips]) == {machine}
        assert set(factory.domain_index[clips]) == {DOMAINS.index(domain)}
    assert np.sort(np.concatenate([*groups.values()])).tolist() == factory.select("train").tolist()


def test_attributes_that_tell_clips_apart_are_left_alone(factory):
    """The texts of one machine are taken away, as where a year's organisers hide them."""
    hidden = factory.class_index == 1
    texts = ["noAttribute" if hide else text for hide, text in zip(hidden, factory.strings("attributes"), strict=True)]
    position = factory.table.schema.get_field_index("attributes")
    table = factory.table.set_column(position, factory.table.schema.field("attributes"), pa.array(texts))
    groups = groups_to_cluster(replace(factory, table=table), "attributes")
    assert {(1, "source"), (1, "target")} <= set(groups)
    several = {
        (machine, domain)
        for (machine, domain), clips in groups_to_cluster(factory, "machine").items()
        if machine != 1 and len(set(factory.strings("attributes", clips))) > 1
    }
    assert several
    assert not several & set(groups)


def test_clips_without_domains_are_one_group_a_machine(small_manifest):
    assert list(groups_to_cluster(small_manifest, "attributes")) == [(own, "") for own in range(4)]
