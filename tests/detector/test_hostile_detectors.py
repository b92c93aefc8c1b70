"""Detector files from another person execute nothing, write nothing and take little memory."""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asd.detector import (
    read_detector,
)
from asd.errors import UserError
from tests.support.detectors import changed, refused, score_one


class Bomb:
    """Unpickled, it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_runs_no_code(tmp_path: Path, legacy: bool) -> None:
    torch.save(
        {"kind": "asd detector", "format": 1, "weights": Bomb(tmp_path / "harm")},
        tmp_path / "bomb.pt",
        _use_new_zipfile_serialization=not legacy,
    )
    refused(tmp_path / "bomb.pt", "is no detector file")
    assert not (tmp_path / "harm").exists()
    torch.load(tmp_path / "bomb.pt", weights_only=False)
    assert (tmp_path / "harm").exists(), "the bomb is none"


def rewritten(good: Path, path: Path, change: Callable[[str, bytes], tuple[str, bytes]], packed: bool = False) -> Path:
    """The archive with other members, and sound checksums."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            name, content = change(entry.filename, source.read(entry))
            target.writestr(name, content, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    return path


def test_names_that_lead_out_write_nothing(good: Path, tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    path = rewritten(good, inner / "d.pt", lambda name, content: (f"../../{name}", content))
    try:
        read_detector(path)
    except UserError as error:
        assert "is no detector file" in str(error)
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "b", "d.pt"]


def test_an_archive_that_unpacks_to_more_than_itself_is_refused(good: Path, tmp_path: Path) -> None:
    path = rewritten(good, tmp_path / "bomb.pt", lambda name, content: (name, content + bytes(1 << 18)), packed=True)
    with zipfile.ZipFile(path) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) > 10 * path.stat().st_size
    refused(path, "it is not stored as torch does it")


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("d/data.pkl", bytes(1 << 20))
        for number in range(20):
            archive.filelist.append(archive.getinfo("d/data.pkl"))
            archive.NameToInfo[f"d/data/{number}"] = archive.filelist[0]
    refused(path, "it is not stored as torch does it")


def test_a_storage_that_claims_more_than_is_there_is_refused(good: Path, tmp_path: Path) -> None:
    """The pickle says how many numbers each storage has, and how large the tensors on it are."""
    claims = 0
    for size in (6 * 128, 6 * 3):  # of a weight, of the centres
        for opcode, code in ((b"M", size.to_bytes(2, "little")), (b"K", bytes([size % 256]))):

            def claim(name: str, content: bytes, old: bytes = opcode + code) -> tuple[str, bytes]:
                if name.endswith("data.pkl"):
                    content = content.replace(old, b"J" + (2**31 - 1).to_bytes(4, "little"))
                return name, content

            path = rewritten(good, tmp_path / "d.pt", claim)
            if path.read_bytes() == good.read_bytes():
                continue
            try:
                score_one(path)
            except UserError as error:
                claims += 1
                assert str(path) in str(error)
    assert claims


def test_a_value_that_refers_to_itself_often_is_looked_at_once(good: Path, tmp_path: Path) -> None:
    def laugh(tree: dict[str, Any]) -> None:
        value: list[Any] = ["ha"]
        for _ in range(60):
            value = [value, value]
        tree["flipped"] = value

    refused(changed(good, tmp_path, laugh), "flipped")


def test_deep_nesting_is_refused(good: Path, tmp_path: Path) -> None:
    depth = 20_000
    nested = b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."
    path = rewritten(good, tmp_path / "d.pt", lambda n, c: (n, nested if n.endswith("data.pkl") else c))
    refused(path, "is no detector file")


def test_any_pickle_is_refused_in_one_line_or_read(good: Path, tmp_path: Path) -> None:
    """Random changes to the pickle, with sound checksums."""
    draw, ends = random.Random(1), {"read": 0, "refused": 0}
    for _ in range(60):

        def spoil(name: str, content: bytes) -> tuple[str, bytes]:
            if name.endswith("data.pkl"):
                spoilt = bytearray(content)
                for _ in range(draw.randint(1, 2)):
                    spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
                content = bytes(spoilt)
            return name, content

        try:
            score_one(rewritten(good, tmp_path / "d.pt", spoil))
            ends["read"] += 1
        except UserError as error:
            ends["refused"] += 1
            assert str(error).isprintable()
    assert min(ends.values()) > 0, ends
    assert [p.name for p in tmp_path.iterdir()] == ["d.pt"]


def test_the_file_is_written_without_pickled_classes(good: Path) -> None:
    with zipfile.ZipFile(good) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("data.pkl"))
        code = archive.read(name)
    import pickletools

    named = {str(arg) for op, arg, _ in pickletools.genops(io.BytesIO(code)) if op.name == "GLOBAL"}
    assert named <= {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch FloatStorage",
        "torch LongStorage",
        "torch DoubleStorage",
        "torch ByteStorage",
    }
