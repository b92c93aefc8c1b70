"""Verification finds what was damaged, exchanged or edited, and passes what was not."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from asd.data.manifest import CLIPS_FILE, MANIFEST_FILE, Manifest, load_manifest
from asd.data.manifest_writer import write_manifest
from asd.errors import UserError
from shards import pack, verify

ROOT = Path(__file__).parents[2]


@pytest.fixture
def packed(corpus, tmp_path) -> Path:
    assert pack.main(["--layout", "dcase2020", "--source", str(corpus), "--out", str(tmp_path / "set")]) == 0
    return tmp_path / "set"


def rewrite(packed: Path, change) -> Manifest:
    """A manifest that fits its table, after `change(table)`: what a faulty packer would write."""
    file = load_manifest(packed).file
    table = change(load_manifest(packed).table)
    write_manifest(packed, file.name, file.layout, file.sample_rate, file.classes, file.shards, table, {})
    return load_manifest(packed)


def replace(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(
        table.schema.get_field_index(name), table.schema.field(name), column.cast(table.schema.field(name).type)
    )


def test_whole_sets_pass(packed, capsys):
    assert verify.main([str(packed)]) == 0
    assert "ok: 24 clips of 3 classes in 2 shards" in capsys.readouterr().out
    checks = verify.shard_checks(load_manifest(packed))
    found = [verify.check_shard(pickle.loads(pickle.dumps(check)), lambda: None) for check in checks]
    assert [(checked.problems, len(checked.levels)) for checked in found] == [([], 12), ([], 12)]


@pytest.mark.parametrize("where", ["samples", "tar header", "end"])
def test_a_flipped_byte(packed, where):
    manifest = load_manifest(packed)
    shard = manifest.root / manifest.file.shards[0].file
    clip = int(manifest.column("offset")[3])
    place = {"samples": clip + 1000, "tar header": clip - 512, "end": shard.stat().st_size - 1}[where]
    content = bytearray(shard.read_bytes())
    content[place] ^= 1
    shard.write_bytes(content)
    problems = verify.verify(load_manifest(packed))
    assert f"{shard.name}: its content is not what was packed (sha256 differs)" in problems
    assert (len(problems) > 1) == (where == "tar header")


def test_the_real_command_says_it_in_one_line(packed):
    shard = packed / "test-000000.tar"
    shard.write_bytes(b"\1" * shard.stat().st_size)
    done = subprocess.run(
        [sys.executable, "-m", "shards.verify", str(packed)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "bad: test-000000.tar: its content is not what was packed" in done.stdout
    assert done.stderr.splitlines()[-1].startswith(f"error: {packed}: 2 problems")
    assert "Traceback" not in done.stderr


def test_missing_truncated_and_exchanged_tars(packed):
    train, test = packed / "train-000000.tar", packed / "test-000000.tar"
    content = train.read_bytes()
    train.write_bytes(content[:-512])
    with pytest.raises(UserError, match=r"train-000000\.tar has \d+ bytes where manifest\.json says"):
        verify.main([str(packed)])
    train.unlink()
    with pytest.raises(UserError, match=r"train-000000\.tar is missing"):
        verify.main([str(packed)])
    size = test.stat().st_size
    shutil.copy(test, train)
    with train.open("ab") as file:
        file.truncate(len(content))
    assert len(content) >= size
    with pytest.raises(UserError, match=r"problems .*copy the set again"):
        verify.main([str(packed)])


def test_tars_of_equal_size_exchanged(tmp_path, write_wav):
    for number in range(4):
        write_wav(tmp_path / "in" / "fan" / "train" / f"normal_id_00_{number:08d}.wav", samples=300_000)
    source, out = str(tmp_path / "in"), tmp_path / "set"
    assert pack.main(["--layout", "dcase2020", "--source", source, "--out", str(out), "--shard-mib", "1"]) == 0
    one, two, *_ = sorted(out.glob("*.tar"))
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    problems = verify.verify(load_manifest(out))
    assert len([problem for problem in problems if "where webdataset finds" in problem]) >= 2


def test_an_edited_manifest(packed):
    path = packed / MANIFEST_FILE
    body = json.loads(path.read_text())
    for change in ({"sample_rate": 8000}, {"name": "other"}, {"classes": body["classes"][::-1]}):
        path.write_text(json.dumps(body | change))
        with pytest.raises(UserError, match="was changed after packing"):
            verify.main([str(packed)])
    path.write_text(json.dumps(body | {"format": 1}))
    with pytest.raises(UserError, match="is of format 1, where format 2 to 5 is read"):
        verify.main([str(packed)])
    path.write_text(json.dumps(body | {"notes": {"my_own": 1}}))
    assert verify.main([str(packed)]) == 0


def test_an_edited_table(packed):
    table = pq.read_table(packed / CLIPS_FILE)
    pq.write_table(table.slice(1), packed / CLIPS_FILE)
    with pytest.raises(UserError, match=r"clips\.parquet does not match"):
        verify.main([str(packed)])


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda t: replace(t, "payload_offset", pc.subtract(t["payload_offset"], 2)), "samples do not begin where"),
        (lambda t: replace(t, "offset", pc.subtract(t["offset"], 2)), "other bytes at its offset"),
        (lambda t: replace(t, "frames", pc.subtract(t["frames"], 1)), "the table says otherwise"),
        (lambda t: replace(t, "label", pc.subtract(t["label"], -1)), "differ in label"),
        (lambda t: replace(t, "file_name", t["key"]), "differ in file_name"),
        (lambda t: replace(t, "class_index", pc.subtract(2, t["class_index"])), "has the class index of"),
        (lambda t: t.slice(1), "the manifest says 12 clips, the table lists 11"),
        (lambda t: replace(t, "key", pc.binary_join_element_wise(t["key"], "x", ".")), "contains a dot"),
        (lambda t: replace(t, "key", pa.array(["same"] * len(t))), "the table has 23 repeated keys"),
    ],
)
def test_a_table_that_does_not_fit_its_tars(packed, change, finding):
    problems = verify.verify(rewrite(packed, change))
    assert any(finding in problem for problem in problems), problems


def test_many_problems_are_counted_not_listed(packed, capsys):
    rewrite(packed, lambda t: replace(t, "file_name", t["key"]))
    with pytest.raises(UserError, match=r"24 problems \(the first 10 are shown\)"):
        verify.main([str(packed)])
    assert capsys.readouterr().out.count("bad: ") == 10


@pytest.mark.parametrize("workers", ["0", "-3", "two"])
def test_workers_that_are_no_number(packed, workers, capsys):
    with pytest.raises(SystemExit, match="2"):
        verify.main([str(packed), "--workers", workers])
    assert f"argument --workers: '{workers}' is not a whole number above 0" in capsys.readouterr().err
