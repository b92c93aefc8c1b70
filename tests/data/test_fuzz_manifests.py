"""Manifests and clips tables with random damage: refused in one line, or within their tars."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asd.data.clips_schema import CLIPS_SCHEMA
from asd.data.manifest import fingerprint_of, load_manifest
from asd.errors import UserError
from tests.support.fuzz import bounded, mutated

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.sampled_from([-1, 0, 2**31, 2**63 - 1, 2**63, 10**400, "../x", "a.tar", "train-000000.tar", "\0"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def packed(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small set in a folder of its own; each example writes its manifest and table anew."""
    root = tmp_path_factory.mktemp("fuzz")
    for path in small_set.iterdir():
        (root / path.name).symlink_to(path)
    for name in ("manifest.json", "clips.parquet"):
        (root / name).unlink()
    return root


def look(root: Path) -> None:
    """Every clip of a set that is taken lies in a file that is there."""
    try:
        manifest = load_manifest(root)
    except UserError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1_000
        return
    sizes = [(root / shard.file).stat().st_size for shard in manifest.file.shards]
    columns = (manifest.column(name).tolist() for name in ("shard", "offset", "size", "payload_offset"))
    for shard, offset, size, payload in zip(*columns, strict=True):
        assert 0 <= offset <= offset + payload <= offset + size <= sizes[shard] or payload > size
    assert all(0 <= index < len(manifest.classes) for index in manifest.class_index)
    assert len(manifest.select("train")) + len(manifest.select("test")) == len(manifest)
    assert len(manifest.strings("key")) == len(manifest)


def write(root: Path, told: dict[str, Any], table: bytes) -> None:
    """With fingerprints that fit, so that the damage is looked at for what it is."""
    (root / "clips.parquet").write_bytes(table)
    told = told | {"clips_sha256": hashlib.sha256(table).hexdigest()}
    (root / "manifest.json").write_text(json.dumps(told | {"fingerprint": fingerprint_of(told)}))


@bounded(80)
@given(data=st.data())
def test_damaged_manifests(packed: Path, small_set: Path, data: st.DataObject) -> None:
    (packed / "clips.parquet").write_bytes((small_set / "clips.parquet").read_bytes())
    whole = st.just((small_set / "manifest.json").read_bytes())
    (packed / "manifest.json").write_bytes(data.draw(mutated(whole, first=400)))
    look(packed)


@bounded(120)
@given(data=st.data())
def test_values_of_a_manifest(packed: Path, small_set: Path, data: st.DataObject) -> None:
    told = json.loads((small_set / "manifest.json").read_text())
    places = [told, told["shards"][0], told["shards"][-1], told["classes"][0]]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places))
        key = data.draw(st.sampled_from([*place, "more"]))
        if data.draw(st.booleans()):
            place[key] = data.draw(VALUES)
        else:
            place.pop(key, None)
    write(packed, told, (small_set / "clips.parquet").read_bytes())
    look(packed)


@bounded(80)
@given(data=st.data())
def test_damaged_tables(packed: Path, small_set: Path, data: st.DataObject) -> None:
    """Bytes of the parquet file."""
    told = json.loads((small_set / "manifest.json").read_text())
    whole = (small_set / "clips.parquet").read_bytes()
    write(packed, told, data.draw(mutated(st.just(whole), first=len(whole))))
    look(packed)


@bounded(80)
@given(data=st.data())
def test_values_of_a_table(packed: Path, small_set: Path, data: st.DataObject) -> None:
    rows = pq.read_table(small_set / "clips.parquet").to_pylist()[:20]
    for _ in range(data.draw(st.integers(1, 3))):
        field = data.draw(st.sampled_from(list(CLIPS_SCHEMA)))
        if pa.types.is_integer(field.type):
            most = 2 ** (field.type.bit_width - 1)
            value = data.draw(st.integers(-most, most - 1) | st.sampled_from([-1, 0, 1, most - 1, -most]) | st.none())
        else:
            value = data.draw(st.text(max_size=5) | st.sampled_from(["../../x", "train", "", "flac"]) | st.none())
        rows[data.draw(st.integers(0, 19))][field.name] = value
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=CLIPS_SCHEMA), out)
    write(packed, json.loads((small_set / "manifest.json").read_text()), out.getvalue().to_pybytes())
    look(packed)
