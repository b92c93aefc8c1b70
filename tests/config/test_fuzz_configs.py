"""Configs with random damage: a config that survives writing, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asd.config.checks import check_batch, check_frames
from asd.config.load import dump_yaml, load_config
from asd.errors import UserError
from tests.support.fuzz import bounded, mutated

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**30, 1e-300, "", "none", "../x", "adam", "arcface", "knn"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "c.yaml"


def look(path: Path, words: list[str]) -> None:
    try:
        config = load_config(path, words)
        check_batch(config, 2)
        check_frames(config, 16_000)
    except UserError as error:
        assert str(error)
        assert "\n" not in str(error)
        return
    path.write_text(dump_yaml(config))
    assert load_config(path).model_dump() == config.model_dump()


@bounded(60)
@given(data=st.data())
def test_damaged_text(path: Path, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(CONFIGS)).read_bytes()
    path.write_bytes(data.draw(mutated(st.just(whole), first=len(whole))))
    look(path, [])


def places(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """A tree and all trees in it."""
    return [tree, *(found for value in tree.values() if isinstance(value, dict) for found in places(value))]


@bounded(120)
@given(data=st.data())
def test_other_values(path: Path, data: st.DataObject) -> None:
    tree = yaml.safe_load(data.draw(st.sampled_from(CONFIGS)).read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(tree)))
        key = data.draw(st.sampled_from([*place, "name", "lr", "a.b", ""]))
        if data.draw(st.integers(0, 3)):
            place[key] = data.draw(VALUES)
        else:
            place.pop(key, None)
    path.write_text(yaml.safe_dump(tree))
    look(path, [])


@bounded(80)
@given(data=st.data())
def test_words(path: Path, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(CONFIGS)).read_text()
    keys = [f"{a}.{b}" for a, inner in yaml.safe_load(whole).items() if isinstance(inner, dict) for b in inner]
    word = st.builds(
        lambda key, value: f"{key}={value}", st.sampled_from(keys) | st.text(max_size=8), VALUES | st.text()
    )
    path.write_text(whole)
    look(path, data.draw(st.lists(word, min_size=1, max_size=2)))
