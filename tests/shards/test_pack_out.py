"""Where a packed set goes: folders that exist, two runs at once, a full disk."""

from __future__ import annotations

import errno
import shlex
import shutil

import pytest

import train_ddp
from asd.data.manifest import load_manifest
from asd.errors import UserError
from shards import pack, staging
from tests.support.packing import assert_nothing_left, pack_dcase, run


def test_existing_folders(corpus, tmp_path):
    out = tmp_path / "set"
    first = pack_dcase(corpus, out)
    with pytest.raises(UserError, match="already holds a packed set: choose another name, or add --overwrite"):
        pack_dcase(corpus, out)
    shutil.rmtree(corpus / "pump")
    assert len(pack_dcase(corpus, out, "--overwrite").classes) == 2
    (corpus / "fan" / "train" / "normal_id_00_00000000.wav").write_bytes(b"")
    with pytest.raises(UserError, match="zero-length"):
        pack_dcase(corpus, out, "--overwrite")
    assert load_manifest(out).fingerprint != first.fingerprint  # the second is still there
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("set")] == ["set"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not remove")
    with pytest.raises(UserError, match="is not a packed set: choose another name"):
        pack_dcase(corpus, tmp_path / "mine", "--overwrite")
    (tmp_path / "empty").mkdir()
    pack_dcase(corpus, tmp_path / "empty", "--skip-bad")


def test_a_set_that_was_set_aside_comes_back(corpus, tmp_path, capsys):
    out = tmp_path / "set"
    pack_dcase(corpus, out)
    out.rename(tmp_path / "set.replaced-0123")
    with pytest.raises(UserError, match="already holds a packed set"):
        pack_dcase(corpus, out)
    assert "restored" in capsys.readouterr().err
    load_manifest(out)


def test_two_runs_do_not_meet(corpus, tmp_path):
    with staging.staged(tmp_path / "set", lambda: None) as folder:
        with pytest.raises(UserError, match=f"another run is writing .*{folder.name}"):
            pack_dcase(corpus, tmp_path / "set")
        assert folder.is_dir()


@pytest.mark.parametrize("moment", ["print_scan", "check_unfit", "tar_bytes", "plan_shards", "_write_manifest"])
def test_a_set_that_appears_while_packing_is_kept(corpus, tmp_path, monkeypatch, moment):
    out, real = tmp_path / "set", getattr(pack, moment, None) or getattr(pack.report, moment)
    first = pack_dcase(corpus, tmp_path / "other")

    def meanwhile(*arguments: object) -> object:
        if not out.exists():
            (tmp_path / "other").rename(out)
        return real(*arguments)

    monkeypatch.setattr(pack.report if moment == "print_scan" else pack, moment, meanwhile)
    with pytest.raises(UserError, match="already holds a packed set"):
        pack_dcase(corpus, out, "--seed", 1)
    assert load_manifest(out).fingerprint == first.fingerprint
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("set")] == ["set"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--workers=abc", "argument --workers: 'abc' is not a whole number above 0"),
        ("--workers=0", "argument --workers: '0' is not a whole number above 0"),
        ("--shard-mib=1.5", "argument --shard-mib: '1.5' is not a whole number above 0"),
        ("--test-normals=-1", "argument --test-normals: '-1' is not a whole number from 0"),
        (
            "--channel=left",
            "argument --channel: 'left' is no number from 0, no two of them (near,reference), nor 'average'",
        ),
    ],
)
def test_numbers_that_are_none(tmp_path, option, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("--layout", "dcase2020", "--source", tmp_path, "--out", tmp_path / "set", option)
    assert said in capsys.readouterr().err


def test_the_next_commands_can_be_pasted(corpus, tmp_path, capsys):
    out = tmp_path / "my set"
    pack_dcase(corpus, out)
    shown = capsys.readouterr().out
    assert f"python -m shards.verify '{out}'" in shown
    assert f"train_ddp.py 'data.shards={out}'" in shown


@pytest.mark.parametrize(("clips", "seconds"), [(12, 10), (5, 1), (1, 0.5)])
def test_own_recordings_go_on_with_the_config_of_own_machines(tmp_path, write_wav, capsys, clips, seconds):
    for number in range(clips):
        write_wav(tmp_path / f"{number}.wav", samples=round(seconds * 16_000))
    rows = "".join(f"{number}.wav,pump,1,train,normal\n" for number in range(clips))
    (tmp_path / "c.csv").write_text(f"path,machine_type,machine_id,split,label\n{rows}")
    out = tmp_path / "set"
    run("--layout", "table", "--source", tmp_path / "c.csv", "--out", out)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train on it:")]
    words = shlex.split(line.partition(":")[2])
    assert " ".join(words) == f"python train_ddp.py --config configs/own_machines.yaml data.shards={out}"
    assert train_ddp.main([*words[2:], "--check"]) == 0  # nothing has to be changed before it runs
    assert f" info: ok: 1 classes, {clips} training clips" in capsys.readouterr().out


@pytest.mark.parametrize("full", ["while writing", "before"])
def test_full_disk(corpus, tmp_path, monkeypatch, full):
    def no_space(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if full == "before":
        monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10, 9, 1))
    else:
        monkeypatch.setattr("shards.writer.read_canonical", no_space)
    with pytest.raises(UserError, match=r"no space left for .*: it needs 0\.[0-9] MiB; free some, or change --out"):
        pack_dcase(corpus, tmp_path / "set")
    assert_nothing_left(tmp_path / "set")
