"""Checkpoints are complete or not there; damaged and hostile ones are refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asd.errors import UserError
from asd.run_folder import checkpoint
from asd.run_folder.checkpoint import Payload
from tests.support.checkpoints import payload

CPU = torch.device("cpu")


FILES = ["COMPLETE", "SHA256SUMS", "config.yaml", "meta.json", "model.safetensors", "optimizer.pt", "state.json"]


def assert_same(a: Payload, b: Payload) -> None:
    assert a.model.keys() == b.model.keys()
    assert all(a.model[k].equal(b.model[k]) and a.model[k].dtype == b.model[k].dtype for k in a.model)
    assert a.optimizer["param_groups"] == b.optimizer["param_groups"]
    for ours, theirs in zip(a.optimizer["state"][0].values(), b.optimizer["state"][0].values(), strict=True):
        assert ours.equal(theirs)
    assert (a.scaler, a.state, a.meta, a.config_yaml) == (b.scaler, b.state, b.meta, b.config_yaml)


@pytest.mark.parametrize("scaler", [False, True])
def test_what_is_loaded_is_what_was_saved(tmp_path, scaler):
    folder = checkpoint.save(tmp_path, 1200, payload(scaler=scaler))
    assert folder == tmp_path / "step_00001200"
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES + ["scaler.pt"] * scaler)
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    assert_same(checkpoint.load(folder, CPU), payload(scaler=scaler))
    assert checkpoint.complete_steps(tmp_path) == [1200]


def test_a_complete_checkpoint_is_never_touched(tmp_path):
    folder = checkpoint.save(tmp_path, 5, payload(0))
    stamps = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    checkpoint.save(tmp_path, 5, payload(1))
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == stamps
    assert_same(checkpoint.load(folder, CPU), payload(0))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "short", "long"])
def test_an_incomplete_checkpoint_is_passed_over(tmp_path, capsys, name, damage):
    checkpoint.save(tmp_path, 1, payload(1))
    folder = checkpoint.save(tmp_path, 2, payload(2))
    path = folder / name
    if damage == "missing":
        path.unlink()
    elif damage == "short":
        os.truncate(path, path.stat().st_size // 2)
    elif name == "COMPLETE":
        path.write_text("[]")  # yaml or json of another kind
    else:
        with path.open("ab") as handle:
            handle.write(b"x")
    assert checkpoint.complete_steps(tmp_path) == [1]
    assert capsys.readouterr().err == f"warning: checkpoint {folder} is not complete: skipped\n"
    with pytest.raises(UserError, match="is not a complete checkpoint"):
        checkpoint.load(folder, CPU)
    assert_same(checkpoint.load(checkpoint.save(tmp_path, 2, payload(3)), CPU), payload(3))  # and is saved anew


def test_only_folders_named_as_steps_count(tmp_path):
    checkpoint.save(tmp_path, 30, payload())
    checkpoint.save(tmp_path, 4, payload())
    for other in ("step_1", "step_00000009.bak", ".partial_step_00000007_1", "best"):
        shutil.copytree(tmp_path / "step_00000004", tmp_path / other)
    assert checkpoint.complete_steps(tmp_path) == [4, 30]
    assert checkpoint.complete_steps(tmp_path / "nowhere") == []


def test_damaged_tensors_of_the_right_size_are_a_users_error(tmp_path):
    folder = checkpoint.save(tmp_path, 1, payload())
    for name in ("model.safetensors", "optimizer.pt"):
        path = folder / name
        kept = path.read_bytes()
        path.write_bytes(bytes(len(kept)))
        with pytest.raises(UserError, match="cannot be read"):
            checkpoint.load(folder, CPU)
        path.write_bytes(kept)
    checkpoint.load(folder, CPU)


def test_the_network_alone(tmp_path):
    folder, saved = checkpoint.save(tmp_path, 1, payload()), payload()
    weights, meta = checkpoint.load_network(folder)
    assert weights.keys() == saved.model.keys()
    assert all(weights[name].equal(saved.model[name]) for name in weights)
    assert meta == saved.meta
    (folder / "optimizer.pt").unlink()
    with pytest.raises(UserError, match="is not a complete checkpoint"):
        checkpoint.load_network(folder)


def test_averaged_weights_are_what_others_take(tmp_path):
    saved = dataclasses.replace(payload(), averaged={"a.weight": payload(1).model["a.weight"]})
    folder = checkpoint.save(tmp_path, 1, saved)
    found = checkpoint.load(folder, CPU)
    assert_same(found, saved)
    assert found.averaged is not None
    assert found.averaged["a.weight"].equal(saved.averaged["a.weight"])
    given, _ = checkpoint.load_network(folder)
    assert given.keys() == saved.model.keys()
    assert given["a.weight"].equal(saved.averaged["a.weight"])
    assert given["a.half"].equal(saved.model["a.half"])
    path = folder / "averaged.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(UserError, match=r"averaged\.safetensors is not what was saved"):
        checkpoint.load_network(folder)


def test_steps_complete_or_not(tmp_path):
    for step in (30, 4):
        checkpoint.save(tmp_path, step, payload())
    (tmp_path / "step_00000004" / "meta.json").unlink()
    (tmp_path / ".partial_step_00000007_1").mkdir()
    assert checkpoint.all_steps(tmp_path) == [4, 30]
    assert checkpoint.all_steps(tmp_path / "nowhere") == []


def test_a_step_whose_link_leads_nowhere_is_saved_again(tmp_path):
    (tmp_path / "step_00000001").symlink_to(tmp_path / "unmounted")
    checkpoint.save(tmp_path, 1, payload())
    assert_same(checkpoint.load(tmp_path / "step_00000001", CPU), payload())


def full(*_args: object, **_kwargs: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "place", ["asd.run_folder.checkpoint.save_file", "torch.save", "pathlib.Path.write_text", "os.fsync"]
)
def test_a_save_that_fails_leaves_nothing(tmp_path, monkeypatch, place):
    checkpoint.save(tmp_path, 1, payload(1))
    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(tmp_path, 2, payload(2))
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000001"]
    assert_same(checkpoint.load(tmp_path / "step_00000001", CPU), payload(1))
    checkpoint.save(tmp_path, 2, payload(2))
    assert checkpoint.complete_steps(tmp_path) == [1, 2]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a file system needs root")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)  # the exception still holds an open file


@pytest.mark.parametrize("size", [290, 600])  # model and optimiser together are too large, the model alone is
def test_a_disk_that_is_really_full_leaves_nothing(tiny_disk, size):
    checkpoint.save(tiny_disk, 1, payload(1, size=40))
    with pytest.raises(OSError) as caught:
        checkpoint.save(tiny_disk, 2, payload(2, size=size))
    assert caught.value.errno == 28
    assert [p.name for p in tiny_disk.iterdir()] == ["step_00000001"]
    assert_same(checkpoint.load(tiny_disk / "step_00000001", CPU), payload(1, size=40))


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("COMPLETE", "SHA256SUMS")])
def test_a_flipped_byte_is_found(tmp_path, name):
    folder = checkpoint.save(tmp_path, 1, payload())
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert checkpoint.is_complete(folder), "by its size it is"
    with pytest.raises(UserError, match=f"cannot be read \\({name} is not what was saved: its sha256 differs\\)"):
        checkpoint.load(folder, CPU)
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert done.stdout == f"{name}: FAILED\n", "the field's own program finds it, too"


def test_a_checkpoint_from_before_there_were_checksums_is_read(tmp_path):
    folder = checkpoint.save(tmp_path, 1, payload())
    (folder / "SHA256SUMS").unlink()
    sizes = {p.name: p.stat().st_size for p in folder.iterdir() if p.name != "COMPLETE"}
    (folder / "COMPLETE").write_text(json.dumps(sizes))
    assert_same(checkpoint.load(folder, CPU), payload())


def sign(folder: Path) -> None:
    """Make sizes and checksums fit the files."""
    files = sorted(p for p in folder.iterdir() if p.name not in ("COMPLETE", "SHA256SUMS"))
    sums = "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files)
    (folder / "SHA256SUMS").write_text(sums)
    sizes = {p.name: p.stat().st_size for p in [*files, folder / "SHA256SUMS"]}
    (folder / "COMPLETE").write_text(json.dumps(sizes))


class Attack:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return (os.system, (f"touch {self.victim}",))


@pytest.mark.parametrize("name", ["optimizer.pt", "scaler.pt"])
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_hostile_file_is_not_executed(tmp_path, name, how):
    folder = checkpoint.save(tmp_path / "run", 1, payload(scaler=True))
    victim = tmp_path / "victim"
    if how == "torch":
        torch.save({"state": Attack(victim)}, folder / name)
    else:
        (folder / name).write_bytes(pickle.dumps(Attack(victim), protocol=2))
    sign(folder)
    assert checkpoint.is_complete(folder)
    why = "is no state that torch saved|holds more than tensors"
    with pytest.raises(UserError, match=rf"cannot be read \({name} ({why})"):
        checkpoint.load(folder, CPU)
    assert not victim.exists()
