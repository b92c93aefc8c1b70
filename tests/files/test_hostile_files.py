"""Checkpoints, sets, configs and recordings from anybody: one line, no code run, nothing written elsewhere, bounded
memory. tests/detector/test_detector.py has the same for detectors, tests/shards/test_download.py for archives."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from torch import nn

from asd.audio.header import BadFileError, read_header
from asd.audio.recording import Target, check_rate
from asd.audio.wav import canonical_header
from asd.audio.windows import open_recording
from asd.commands.open_run import load_run
from asd.config.initialise import initialise_from
from asd.config.load import load_config
from asd.data.cache.cached_set import open_cached
from asd.data.clips_schema import CLIPS_SCHEMA
from asd.data.manifest import load_manifest
from asd.errors import UserError
from asd.run_folder import checkpoint, pruning
from asd.run_folder.checkpoint import COMPLETE, SUMS, Payload
from asd.run_folder.paths import RunFolder
from asd.train.ema import AveragedWeights
from asd.train.state import TrainState
from asd.train.trainer import Trainer
from shards import verify
from shards.layouts.clip import Choices
from shards.layouts.table import read_tables
from tests.data.test_manifest import edit_manifest, replace_table
from tests.run_folder.test_checkpoint import CPU, payload, sign

ROOT = Path(__file__).parents[2]
MEMORY = 2 << 30  # address space of a child that reads what would unpack to more


def refused(work: Callable[[], object], *words: str) -> str:
    """The one line that work ends with."""
    with pytest.raises(UserError) as caught:
        work()
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600, line
    for word in words:
        assert word in line
    return line


def command(module: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of ours with little memory."""

    limit = ["bash", "-c", 'ulimit -v "$0" && exec "$@"', str(MEMORY >> 10)]
    return subprocess.run(
        [*limit, sys.executable, "-m", module, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},  # else address space by the number of cores
        check=False,
    )


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


# ---- checkpoints ---------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return checkpoint.save(tmp_path / "run" / "checkpoints", 1, payload(scaler=True))


def signed(folder: Path) -> Path:
    """The checkpoint with sizes and checksums that fit its files."""
    sign(folder)
    return folder


LARGE = b'{"a": {"dtype": "F32", "shape": [1099511627776], "data_offsets": [0, 4398046511104]}}'
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", struct.pack("<Q", 1 << 62) + b"{}"),
        ("model.safetensors", struct.pack("<Q", 90_000_000) + b"{}"),
        ("model.safetensors", struct.pack("<Q", len(LARGE)) + LARGE),
        ("state.json", DEEP.encode()),
        ("state.json", b"[1]"),
        ("state.json", b'{"step": ' + b"9" * 5000 + b"}"),
        ("meta.json", b"\xff\xfe"),
        ("config.yaml", b"\xff\xfe"),
        ("optimizer.pt", b""),
        ("optimizer.pt", b"PK\3\4"),
        ("scaler.pt", b"\x80\x02]" + b"]" * 50_000),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_checkpoint_with_absurd_files_is_refused(saved: Path, name: str, content: bytes) -> None:
    (saved / name).write_bytes(content)
    assert checkpoint.is_complete(signed(saved))
    refused(lambda: checkpoint.load(saved, CPU), f"{saved} cannot be read")


def test_state_that_unpacks_to_more_than_itself_is_refused(saved: Path) -> None:
    path = saved / "optimizer.pt"
    with zipfile.ZipFile(path) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content + bytes(1 << 22))
    refused(lambda: checkpoint.load(signed(saved), CPU), "cannot be read (optimizer.pt is no state that torch saved")


@pytest.mark.parametrize("value", [[1, 2], torch.ones(2)])
def test_state_of_another_kind_is_refused(saved: Path, value: Any) -> None:
    torch.save(value, saved / "optimizer.pt")
    refused(lambda: checkpoint.load(signed(saved), CPU), "optimizer.pt is not a JSON object")


def harmless(**changes: Any) -> Payload:
    """What training saved, with other state."""
    net, adam = trainable()
    net(torch.ones(1, 2)).sum().backward()
    adam.step()
    averaged = AveragedWeights(net, 0.9).tensors
    saved = Payload(net.state_dict(), adam.state_dict(), None, asdict(TrainState()), {}, "", averaged)
    return replace(saved, **changes)


def trainable() -> tuple[nn.Module, torch.optim.Optimizer]:
    net = nn.Linear(2, 2)
    return net, torch.optim.Adam(net.parameters())


def restore(payload: Payload) -> None:
    trainer = Trainer.__new__(Trainer)
    net, trainer.optimizer = trainable()
    trainer.parts, trainer.scaler = SimpleNamespace(task=net), None  # type: ignore[assignment]
    trainer.averaged = AveragedWeights(net, 0.9)
    trainer._restore(payload)


def test_state_that_does_not_fit_is_refused() -> None:
    restore(harmless())
    moments = harmless().optimizer
    moments["state"][0]["exp_avg"] = torch.ones(1).expand(10**12)
    others = {
        "optimizer": [{}, {"state": {}, "param_groups": []}, {"state": 5, "param_groups": [{"params": 3}]}, moments]
    }
    others["averaged"] = [{}, {"weight": torch.ones(2, 2), "bias": torch.ones(1)}]
    others |= {"model": [{}, {"weight": torch.ones(3)}], "state": [{"step": "x"}, {"step": 1.5}, {"more": 1}]}
    for name, values in others.items():
        for value in values:
            refused(lambda name=name, value=value: restore(harmless(**{name: value})), "does not fit this run")


@pytest.mark.parametrize("name", ["../../outside", "/etc/hostname", "pipe", "..", "", "a\0b"])
def test_names_that_lead_out_make_no_checkpoint(saved: Path, name: str) -> None:
    """Whatever size is claimed; and a pipe, from which nothing ever comes, is not waited for."""
    (saved.parents[1] / "outside").write_bytes(b"")
    os.mkfifo(saved / "pipe")
    outside = saved / name if "\0" not in name else saved
    size = outside.stat().st_size if outside.exists() else 0
    (saved / COMPLETE).write_text(json.dumps({name: size}))
    assert not checkpoint.is_complete(saved)


@pytest.mark.parametrize("content", [DEEP, "[1]", '{"state.json": [1]}', '{"state.json": 1e999}', "\ud800"])
def test_absurd_lists_of_files_make_no_checkpoint(saved: Path, content: str) -> None:
    (saved / COMPLETE).write_bytes(content.encode(errors="surrogatepass"))
    assert not checkpoint.is_complete(saved)


def test_a_pipe_as_list_of_files_is_not_waited_for(saved: Path) -> None:
    (saved / COMPLETE).unlink()
    os.mkfifo(saved / COMPLETE)
    assert checkpoint.complete_steps(saved.parent) == []


def test_checksums_do_not_lead_out(saved: Path) -> None:
    (saved / SUMS).write_text("0" * 64 + "  ../../outside\n")
    sizes = {path.name: path.stat().st_size for path in saved.iterdir() if path.name != COMPLETE}
    (saved / COMPLETE).write_text(json.dumps(sizes))
    refused(lambda: checkpoint.load(saved, CPU), "../../outside is not what was saved")


def test_weights_to_begin_from_are_read_as_carefully(saved: Path) -> None:
    (saved / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    refused(lambda: initialise_from(nn.Linear(2, 2), str(signed(saved)), "best", ()), "cannot be read")


def test_a_link_in_place_of_a_checkpoint_is_not_followed_when_it_is_removed(saved: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    saved.rename(kept)
    saved.symlink_to(kept)
    checkpoint.save(saved.parent, 2, payload())
    before = files_in(kept)
    pruning.prune(saved.parent, checkpoint.CheckpointConfig(keep_last=1), ())
    pruning.remove_partial(saved.parent)
    assert checkpoint.complete_steps(saved.parent) == [2]
    assert files_in(kept) == before


@pytest.mark.parametrize("content", ["", "[]", "{", DEEP, "\0"])
def test_a_damaged_run_json_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    refused(lambda: RunFolder(tmp_path).check({"seed": 0}), str(tmp_path))


# ---- configs -------------------------------------------------------------------------------------------------------

LAUGH = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: !!python/object/apply:os.system ['touch victim']", "is not yaml"),
        ("train: !!python/object/new:subprocess.Popen [['touch', victim]]", "is not yaml"),
        ("train: !!python/name:os.system", "is not yaml"),
        ("train: " + "[" * 1_500, "is not yaml"),
        ("train: " + "{a: " * 2000 + "}" * 2000, "is not yaml"),
        ("train: {seed: " + "9" * 5000 + "}", "train.seed=inf"),
        ("train: {? [1, 2] : 3}", "is not yaml"),
        ("train: !!binary x", "is not yaml"),
        (LAUGH, "unknown key a0"),
        (LAUGH + "train: *a39\n", "train"),
        ("evaluate: {scorers: *x}\n", "is not yaml"),
        ("<<: [1]\n", "is not yaml"),
        ("1: 2\n", "1"),
        ("train: {" + "x" * 1_000 + ": 1}", "unknown key train.xxx"),
        ("distributed: {precision: " + "x" * 100_000 + "}", "distributed.precision=xxx"),
        ("train: {1: 2}\n", "train"),
        ("? ''\n: 1\n", ""),
    ],
    ids=range(17),
)
def test_a_hostile_config_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Also as the config of a run folder."""
    path = tmp_path / "config.yaml"
    path.write_text((ROOT / "configs" / "demo.yaml").read_text() + "\n" + text)
    before = files_in(ROOT / "asd") | files_in(tmp_path)
    refused(lambda: load_config(path), said)
    refused(lambda: load_run(tmp_path), said)
    assert files_in(ROOT / "asd") | files_in(tmp_path) == before
    assert not Path("victim").exists()


# ---- sets ----------------------------------------------------------------------------------------------------------


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


# ---- recordings ----------------------------------------------------------------------------------------------------


def bad(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadFileError) as caught:
        read_header(path)
    return caught.value.detail


def test_a_wav_that_promises_four_gigabytes_is_cut_short(tmp_path: Path) -> None:
    header = canonical_header(0xF0000000, 16_000)
    assert "its header says 4026531840 bytes of samples, 100 are there" in bad(tmp_path / "a.wav", header + bytes(100))


def test_a_wav_of_nothing_but_chunks_is_given_up_soon(tmp_path: Path) -> None:
    """A gigabyte of them, which takes no room on disk: 130 million reads."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + bytes(4) + b"WAVE")
    os.truncate(path, 1 << 30)
    assert "the audio header cannot be read" in bad(path)


def test_a_flac_that_promises_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(1000, np.int16), 16_000)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # STREAMINFO's total of samples, 36 bits
    content[22:26] = b"\xff" * 4
    assert f"its header says {2**36 - 1} samples, more than its size allows" in bad(path, bytes(content))


@pytest.mark.parametrize("rate", [1, 15, 999_983, 2**31 - 1])
def test_a_rate_that_would_take_all_memory_is_refused(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(canonical_header(20_000, rate) + bytes(20_000))
    with pytest.raises(BadFileError, match=f"its sample rate, {rate} Hz, cannot be resampled to 16000 Hz"):
        open_recording(path, Target(16_000))


@pytest.mark.parametrize(
    "rate", [8_000, 11_025, 22_050, 32_000, 41_667, 44_100, 44_101, 48_000, 48_828, 96_000, 192_000, 250_000, 384_000]
)
def test_rates_of_real_recordings_are_taken(tmp_path: Path, rate: int) -> None:
    (tmp_path / "a.wav").write_bytes(canonical_header(200, rate) + bytes(200))
    check_rate(read_header(tmp_path / "a.wav"), Target(16_000))


def test_packing_and_cutting_refuse_such_recordings_in_little_memory(tmp_path: Path) -> None:
    for name, rate in (("a", 16_000), ("b", 999_983)):
        (tmp_path / f"{name}.wav").write_bytes(canonical_header(20_000, rate) + bytes(20_000))
    flac = tmp_path / "c.wav"  # by its name
    soundfile.write(tmp_path / "c.flac", np.zeros(1000, np.int16), 16_000)
    content = bytearray((tmp_path / "c.flac").read_bytes())
    content[22:26] = b"\xff" * 4
    flac.write_bytes(content)
    rows = "".join(f"{name}.wav,fan,00,train,normal\n" for name in "abc")
    table = tmp_path / "t.csv"
    table.write_text(f"path,machine_type,machine_id,split,label\n{rows}")
    done = command("shards.pack", "--layout", "table", "--source", table, "--out", tmp_path / "set", "--resample")
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert "999983 Hz" in done.stdout + done.stderr
    done = command("shards.cut", "--source", table, "--seconds", "0.5", "--out", tmp_path / "cut")
    assert (done.returncode, done.stderr.count("error: ")) == (2, 1), done
    assert "more than its size allows" in done.stderr
    assert not (tmp_path / "cut").exists()
