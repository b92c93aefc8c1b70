"""Checkpoints from another person: refused in one line, nothing executed, written outside or read without bound."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from asd.config.initialise import initialise_from
from asd.run_folder import checkpoint, pruning
from asd.run_folder.checkpoint import COMPLETE, SUMS, Payload
from asd.run_folder.paths import RunFolder
from asd.train.ema import AveragedWeights
from asd.train.state import TrainState
from asd.train.trainer import Trainer
from tests.run_folder.test_checkpoint import CPU, payload, sign
from tests.support.hostile import DEEP, files_in, refused


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return checkpoint.save(tmp_path / "run" / "checkpoints", 1, payload(scaler=True))


def signed(folder: Path) -> Path:
    """The checkpoint with sizes and checksums that fit its files."""
    sign(folder)
    return folder


LARGE = b'{"a": {"dtype": "F32", "shape": [1099511627776], "data_offsets": [0, 4398046511104]}}'


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
