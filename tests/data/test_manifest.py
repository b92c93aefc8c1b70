"""What a packed set promises, and every way of breaking the promise is refused with one clear line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asd.data.clips_schema import CLIPS_SCHEMA
from asd.data.manifest import (
    CLIPS_FILE,
    class_table,
    fingerprint_of,
    load_manifest,
)
from asd.data.manifest_writer import write_manifest
from asd.errors import UserError
from asd.files.checksum import sha256_of


@pytest.fixture
def broken(small_set: Path, tmp_path: Path) -> Path:
    """A copy of small_set that the test may damage."""
    return Path(shutil.copytree(small_set, tmp_path / "set"))


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_manifest(root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit_manifest(root: Path, **changes: object) -> None:
    path = root / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_clip(root: Path, row: int, **changes: object) -> str:
    """Change one row of the clips table and make the hash in the manifest fit; the key of the row."""
    rows = pq.read_table(root / CLIPS_FILE).to_pylist()
    rows[row] |= changes
    replace_table(root, pa.Table.from_pylist(rows, schema=CLIPS_SCHEMA))
    return rows[row]["key"]


def replace_table(root: Path, table: pa.Table) -> None:
    pq.write_table(table, root / CLIPS_FILE)
    told = json.loads((root / "manifest.json").read_text()) | {"clips_sha256": sha256_of(root / CLIPS_FILE)}
    fingerprint = fingerprint_of(told)
    edit_manifest(root, clips_sha256=told["clips_sha256"], fingerprint=fingerprint)


def test_a_set_tells_what_was_packed(small_manifest):
    assert [str(c) for c in small_manifest.classes] == ["fan/00", "fan/02", "pump/00", "valve/04"]
    assert small_manifest.sample_rate == 16_000
    assert small_manifest.file.layout == "dcase2020"
    assert len(small_manifest) == 4 * (24 + 8)
    train, test = small_manifest.select("train"), small_manifest.select("test")
    assert sorted([*train, *test]) == list(range(len(small_manifest)))
    assert np.bincount(small_manifest.class_index[train]).tolist() == [24] * 4
    assert np.bincount(small_manifest.class_index[test]).tolist() == [8] * 4
    assert small_manifest.label[train].tolist() == [0] * 96
    assert small_manifest.label[test].sum() == 16
    assert set(small_manifest.frames) == {16_000}
    assert set(small_manifest.domain_index) == {0}
    assert not small_manifest.is_flac.any()
    keys = small_manifest.strings("key")
    assert len(set(keys)) == len(keys)
    assert not any("." in key for key in keys)
    assert small_manifest.strings("key", np.array([5, 2])) == [keys[5], keys[2]]
    for clip in (0, 50, 127):
        where = small_manifest.classes[small_manifest.class_index[clip]]
        assert small_manifest.strings("machine_type")[clip] == where.machine_type
        assert f"id_{where.machine_id}" in small_manifest.strings("file_name")[clip]


def test_clips_lie_in_the_table_as_in_the_tars(small_manifest):
    shard, offset = small_manifest.column("shard"), small_manifest.column("offset")
    assert (np.lexsort((offset, shard)) == np.arange(len(shard))).all()
    assert np.bincount(shard).tolist() == [s.clips for s in small_manifest.file.shards]
    assert len(small_manifest.file.shards) > 2


def test_writing_and_reading_again_changes_nothing(small_manifest, tmp_path):
    for shard in small_manifest.file.shards:
        (tmp_path / shard.file).symlink_to(small_manifest.root / shard.file)
    original = small_manifest.file
    about = (original.name, original.layout, original.sample_rate)
    write_manifest(tmp_path, *about, original.classes, original.shards, small_manifest.table, {"skipped": 3})
    again = load_manifest(tmp_path)
    assert again.table.equals(small_manifest.table)
    assert again.file.notes == {"skipped": 3}
    assert (again.file.classes, again.file.shards) == (original.classes, original.shards)
    assert not list(tmp_path.glob("*.partial"))


def test_the_fingerprint_tells_sets_apart(small_manifest, tmp_path):
    file = small_manifest.file

    def fingerprint(layout: str = "dcase2020", rate: int = 16_000, shards=file.shards, table=small_manifest.table):
        return write_manifest(tmp_path, "a", layout, rate, file.classes, shards, table, {}).fingerprint

    changed_shard = (file.shards[0].model_copy(update={"sha256": "0" * 64}), *file.shards[1:])
    prints = [
        fingerprint(),
        fingerprint(rate=8_000),
        fingerprint(layout="dcase2023"),
        fingerprint(shards=changed_shard),
        fingerprint(table=small_manifest.table.slice(1)),
    ]
    assert len(set(prints)) == 5
    assert fingerprint() == prints[0]


def test_a_set_of_format_2_is_read_as_it_was(broken, small_manifest):
    replace_table(broken, pq.read_table(broken / CLIPS_FILE).drop_columns(["recording"]))
    told = json.loads((broken / "manifest.json").read_text()) | {"format": 2}
    told["fingerprint"] = fingerprint_of(told)
    (broken / "manifest.json").write_text(json.dumps(told))
    old = load_manifest(broken)
    assert old.fingerprint == told["fingerprint"]
    assert old.table.equals(small_manifest.table)
    assert set(old.strings("recording")) == {""}
    edit_manifest(broken, format=3)
    assert "was changed after packing" in refusal(broken)


def test_the_fingerprint_covers_the_recordings(small_manifest, tmp_path):
    file, table = small_manifest.file, small_manifest.table
    prints = []
    for recording in ("", "monday"):
        position = table.schema.get_field_index("recording")
        changed = table.set_column(position, CLIPS_SCHEMA.field("recording"), pa.array([recording] * len(table)))
        about = (file.name, file.layout, file.sample_rate, file.classes, file.shards)
        prints.append(write_manifest(tmp_path, *about, changed, {}).fingerprint)
    assert prints[0] == file.fingerprint != prints[1]


def test_class_table_is_sorted_and_derived():
    found = class_table([("pump", "02"), ("fan", "10"), ("pump", "02"), ("fan", "02")])
    assert [str(c) for c in found] == ["fan/02", "fan/10", "pump/02"]


def test_refuses_a_folder_without_manifest(tmp_path):
    assert re.search(r"holds no manifest\.json: .*packing did not finish", refusal(tmp_path))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"layout": ""}, "layout"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"surprise": 1}, "surprise"),
        ({"shards": [{"file": "../secret.tar", "bytes": 1, "sha256": "", "clips": 1}]}, "shards.0.file"),
        ({"shards": [{"file": "/etc/x.tar", "bytes": 1, "sha256": "", "clips": 1}]}, "shards.0.file"),
    ],
)
def test_refuses_a_manifest_of_another_format(broken, changes, where):
    edit_manifest(broken, **changes)
    assert f"is not a manifest of format 2 to 5: {where}:" in refusal(broken)


@pytest.mark.parametrize("version", [1, 6, "2", None])
def test_refuses_another_version_and_says_what_to_do(broken, version):
    edit_manifest(broken, format=version)
    path = broken / "manifest.json"
    assert refusal(broken) == f"{path} is of format {version!r}, where format 2 to 5 is read: pack the set again"


def test_a_set_of_format_1_is_refused_for_its_format_first(broken):
    told = json.loads((broken / "manifest.json").read_text()) | {"format": 1}
    del told["layout"]
    (broken / "manifest.json").write_text(json.dumps(told))
    assert "is of format 1, where format 2 to 5 is read: pack the set again" in refusal(broken)


@pytest.mark.parametrize(
    "changes",
    [{"sample_rate": 8_000}, {"name": "another"}, {"layout": "dcase2023"}, {"fingerprint": "0" * 64}],
    ids=str,
)
def test_refuses_a_manifest_changed_after_packing(broken, changes):
    edit_manifest(broken, **changes)
    assert "was changed after packing (its fingerprint differs)" in refusal(broken)


def test_refuses_exchanged_classes(broken):
    classes = json.loads((broken / "manifest.json").read_text())["classes"]
    edit_manifest(broken, classes=classes[::-1])
    assert "was changed after packing" in refusal(broken)


def test_notes_may_be_changed(broken):
    edit_manifest(broken, notes={"seen": 1})
    assert load_manifest(broken).file.notes == {"seen": 1}


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00\xff"])
def test_refuses_what_is_not_json(broken, text):
    (broken / "manifest.json").write_text(text)
    assert "is not a manifest of format 2 to 5" in refusal(broken)


def test_refuses_a_missing_table(broken):
    (broken / CLIPS_FILE).unlink()
    assert f"{CLIPS_FILE} is missing: pack the set again" in refusal(broken)


def test_refuses_a_changed_table(broken):
    data = bytearray((broken / CLIPS_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (broken / CLIPS_FILE).write_bytes(data)
    assert "does not match manifest.json (its hash differs)" in refusal(broken)


def test_refuses_other_columns(broken):
    replace_table(broken, pq.read_table(broken / CLIPS_FILE).drop_columns(["label"]))
    assert "has other columns than format 3" in refusal(broken)


def test_refuses_a_missing_tar(broken):
    tar = sorted(broken.glob("*.tar"))[1]
    tar.unlink()
    assert refusal(broken) == f"{tar} is missing: copy it again, or pack the set again"


@pytest.mark.parametrize("change", [-512, 512])
def test_refuses_a_tar_of_another_size(broken, change):
    tar = sorted(broken.glob("*.tar"))[1]
    size = tar.stat().st_size
    with tar.open("r+b") as handle:
        handle.truncate(size + change)
    assert f"{tar} has {size + change} bytes where manifest.json says {size}" in refusal(broken)


@pytest.mark.parametrize(
    "changes",
    [
        {"shard": -1},
        {"shard": 99},
        {"offset": -1},
        {"offset": 10**9},
        {"offset": 2**63 - 1},
        {"size": -1},
        {"size": 10**9},
        {"frames": 0},
        {"frames": -16_000},
        {"frames": 16_000 + 10_000},
        {"frames": 2**62},
        {"channels": 0},
        {"channels": 2},
        {"channels": -1},
        {"payload_offset": -1_000},
        {"payload_offset": 2_000},
        {"class_index": -1},
        {"class_index": 4},
    ],
    ids=str,
)
def test_refuses_a_clip_outside_its_tar(broken, changes):
    key = edit_clip(broken, 7, **changes)
    assert f"clip {key} lies outside its tar or class table" in refusal(broken)


@pytest.mark.parametrize("changes", [{"split": "validation"}, {"domain": "elsewhere"}, {"codec": "mp3"}], ids=str)
def test_refuses_words_that_mean_nothing(broken, changes):
    edit_clip(broken, 7, **changes)
    ((column, word),) = changes.items()
    message = refusal(broken)
    assert column in message
    assert repr(word) in message
