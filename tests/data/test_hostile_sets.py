"""Packed sets from another person: refused in one line, nothing written outside or read without bound."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asd.audio.wav import canonical_header
from asd.data.cache.cached_set import open_cached
from asd.data.clips_schema import CLIPS_SCHEMA
from asd.data.manifest import load_manifest
from shards import verify
from shards.layouts.clip import Choices
from shards.layouts.table import read_tables
from tests.data.test_manifest import edit_manifest, replace_table
from tests.support.hostile import DEEP, command, files_in, refused


@pytest.fixture
def packed(small_set: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(small_set, tmp_path / "set"))


def first_shard(root: Path, **changes: object) -> dict[str, Any]:
    shards = json.loads((root / "manifest.json").read_text())["shards"]
    return {"shards": [shards[0] | changes, *shards[1:]]}


@pytest.mark.parametrize(
    "changes",
    [
        {"sample_rate": 10**30},
        {"sample_rate": -1},
        {"sample_rate": 1e999},
        {"format": "x" * 100_000},
        {"classes": [{"machine_type": "../../x", "machine_id": "00"}]},
        {"classes": [{"machine_type": "/etc", "machine_id": "00"}]},
        {"classes": [{"machine_type": "fan", "machine_id": ".."}]},
        {"classes": [{"machine_type": "..\\x", "machine_id": "00"}]},
        {"classes": [{"machine_type": "\x1b[2J", "machine_id": "00"}]},
        {"notes": {"a": 10**5000}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_manifest_with_absurd_values_is_refused(packed: Path, changes: dict[str, Any]) -> None:
    sys.set_int_max_str_digits(10_000)
    try:
        edit_manifest(packed, **changes)
    finally:
        sys.set_int_max_str_digits(4300)
    refused(lambda: load_manifest(packed), str(packed / "manifest.json"))


@pytest.mark.parametrize(
    "changes", [{"bytes": 10**30}, {"bytes": -1}, {"clips": 10**30}, {"file": "../x.tar"}], ids=str
)
def test_a_shard_with_absurd_values_is_refused(packed: Path, changes: dict[str, Any]) -> None:
    edit_manifest(packed, **first_shard(packed, **changes))
    refused(lambda: load_manifest(packed), "shards.0.")


def test_a_manifest_of_nothing_but_brackets_is_refused(packed: Path) -> None:
    (packed / "manifest.json").write_text(DEEP)
    refused(lambda: load_manifest(packed), "is not a manifest")


def repeated(rows: int, **texts: str) -> pa.Table:
    """A clips table of equal rows, which takes next to nothing in its file."""
    columns = []
    for field in CLIPS_SCHEMA:
        words = pa.types.is_string(field.type) or pa.types.is_dictionary(field.type)
        text = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [texts.get(field.name, "train")])
        columns.append(text if words else pa.array(np.zeros(rows), field.type))
    return pa.table(columns, names=CLIPS_SCHEMA.names)


def replace_written(root: Path, table: pa.Table) -> None:
    """Put a table of words in place of one of texts, under the schema of texts."""
    replace_table(root, pa.table({"x": [1]}))  # for the hash; its file comes now
    with pq.ParquetWriter(root / "clips.parquet", CLIPS_SCHEMA, compression="zstd") as writer:
        writer.write_table(table.cast(CLIPS_SCHEMA))
    told = hashlib.sha256((root / "clips.parquet").read_bytes()).hexdigest()
    resign(root, clips_sha256=told)


def resign(root: Path, **changes: object) -> None:
    """Change the manifest, and its fingerprint with it."""
    from asd.data.manifest import fingerprint_of

    told = json.loads((root / "manifest.json").read_text()) | changes
    edit_manifest(root, **changes, fingerprint=fingerprint_of(told))


def test_a_table_of_more_rows_than_bytes_is_refused(packed: Path) -> None:
    replace_written(packed, repeated(3_000_000))
    assert (packed / "clips.parquet").stat().st_size < 1_000_000
    refused(lambda: load_manifest(packed), "clips.parquet cannot be read (3000000 rows in")


def test_a_table_whose_texts_unpack_to_much_more_is_refused(packed: Path) -> None:
    """150 MB of text in some KB."""
    replace_written(packed, repeated(3_000, attributes="x" * 50_000))
    assert (packed / "clips.parquet").stat().st_size < 100_000
    refused(lambda: load_manifest(packed), "clips.parquet cannot be read (3000 rows of up to 50000 bytes in")


def test_bytes_that_are_no_table_are_refused(packed: Path) -> None:
    whole = (packed / "clips.parquet").read_bytes()
    for content in (b"", b"PAR1PAR1", whole[:-500], whole[:2000] + b"\xff" * 200 + whole[2200:]):
        (packed / "clips.parquet").write_bytes(content)
        resign(packed, clips_sha256=hashlib.sha256(content).hexdigest())
        refused(lambda: load_manifest(packed), "clips.parquet")


def add_members(root: Path, add: Callable[[tarfile.TarFile], None]) -> None:
    """Other members at the end of the first tar, and a manifest that fits it."""
    path = root / "train-000000.tar"
    with tarfile.open(path, "a") as tar:
        add(tar)
    content = path.read_bytes()
    resign(root, **first_shard(root, bytes=len(content), sha256=hashlib.sha256(content).hexdigest()))


def link(name: str, target: str, kind: bytes) -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        tar.addfile(member)

    return add


@pytest.mark.parametrize(
    "add",
    [
        link("x.wav", "/etc/passwd", tarfile.SYMTYPE),
        link("x.wav", "../../outside", tarfile.LNKTYPE),
        link("../../outside.wav", "", tarfile.REGTYPE),
        link("/outside.wav", "", tarfile.REGTYPE),
        link("x", "", tarfile.FIFOTYPE),
        link("x", "", tarfile.DIRTYPE),
    ],
)
def test_members_that_lead_out_are_told_and_write_nothing(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], add: Callable[[tarfile.TarFile], None]
) -> None:
    add_members(packed, add)
    before = files_in(tmp_path)
    refused(lambda: verify.main([str(packed)]), "1 problems")
    assert "bad: train-000000.tar: " in capsys.readouterr().out
    assert files_in(tmp_path) == before


def test_a_member_that_unpacks_to_more_than_its_tar_is_told(packed: Path) -> None:
    """A sparse file: a terabyte of zeros that are not there."""

    def add(tar: tarfile.TarFile) -> None:
        assert tar.fileobj is not None
        member = tarfile.TarInfo("x.wav")
        member.type = tarfile.GNUTYPE_SPARSE
        header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
        header[386:410] = b"%011o\0%011o\0" % (0, 0)  # one piece of nothing
        header[482:483] = b"\0"
        header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")  # its size once unpacked
        header[148:156] = b"        "
        header[148:156] = b"%06o\0 " % sum(header)
        tar.fileobj.write(bytes(header))

    add_members(packed, add)
    with tarfile.open(packed / "train-000000.tar") as tar:
        assert max(member.size for member in tar) == 1 << 40
    done = command("shards.verify", packed)
    assert (done.returncode, done.stderr.count("error: "), "Traceback" in done.stderr) == (2, 1, False), done
    assert "'x.wav' is no plain file within the tar" in done.stdout


def test_a_set_from_elsewhere_is_kept_in_the_cache_alone(packed: Path, tmp_path: Path) -> None:
    resign(packed, name="../../../outside")
    cache = tmp_path / "a" / "b" / "cache"
    before = files_in(tmp_path)
    manifest = open_cached(f"file://{packed}", cache, None)
    assert manifest.tars is not None
    manifest.tars.close()
    assert {path for path in files_in(tmp_path) - before if not path.is_relative_to(cache)} == set()
    assert (cache / f"_outside-{manifest.fingerprint[:16]}").is_dir()


@pytest.mark.parametrize("size", [2**50, 2**63])
def test_a_shard_from_elsewhere_that_claims_petabytes_is_refused(packed: Path, tmp_path: Path, size: int) -> None:
    resign(packed, **first_shard(packed, bytes=size))
    refused(lambda: open_cached(f"file://{packed}", tmp_path / "cache", None))


@pytest.mark.parametrize("name", ["../../x", "/x", "..", ".x", "a\\b", "\x1b[2J"])
def test_a_table_of_recordings_names_no_machine_that_leads_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.wav").write_bytes(canonical_header(2, 16_000) + bytes(2))
    (tmp_path / "t.csv").write_text(f"path,machine_type,machine_id,split,label\na.wav,{name},00,train,normal\n")
    refused(lambda: read_tables([tmp_path / "t.csv"], Choices()), "machine_type is")
