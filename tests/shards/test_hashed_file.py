"""A file in pieces: its bytes, its hash, and what happens when the disk takes less than it was given."""

from __future__ import annotations

import hashlib
import os

import pytest

from shards import hashed_file
from shards.hashed_file import HashedFile

PIECES = (b"a" * 7, b"", b"b" * 100, b"c" * 1000, b"d" * 25)
CONTENT = b"".join(PIECES)


@pytest.mark.parametrize("piece_bytes", [1, 8, 100, 1132, 4096])
def test_bytes_and_hash(tmp_path, monkeypatch, piece_bytes):
    monkeypatch.setattr(hashed_file, "PIECE_BYTES", piece_bytes)
    with HashedFile(tmp_path / "file") as file:
        for piece in PIECES:
            before = file.tell()
            assert file.write(piece) == len(piece)
            assert file.tell() == before + len(piece)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert file.size == len(CONTENT)
    assert file.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_a_disk_that_takes_little_at_a_time(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    with HashedFile(tmp_path / "file") as file:
        file.write(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert file.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_an_error_within_is_the_one_that_is_raised(tmp_path):
    with pytest.raises(KeyError, match="mine"), HashedFile(tmp_path / "file") as file:
        file.write(CONTENT)
        raise KeyError("mine")
    assert (tmp_path / "file").read_bytes() == b""  # what was gathered is not written any more


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"), HashedFile(tmp_path / "file") as file:
        file.write(CONTENT)
