"""Which recordings a machine is calibrated by."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asd.commands.normal_sound import Places
from asd.errors import UserError


def test_a_copy_is_no_further_recording(tmp_path: Path) -> None:
    for name, content in (("a.wav", b"one"), ("b.wav", b"two"), ("c.wav", b"one")):
        (tmp_path / name).write_bytes(content)
    a, b, c = sorted(tmp_path.iterdir())
    assert Places.of([a, b], [], [], "file").normal == [a, b]
    for kinds in (([tmp_path], [], []), ([a], [c], []), ([a], [b], [c])):
        with pytest.raises(UserError, match=rf"{c} is a copy of {a}, and would count as another recording"):
            Places.of(*kinds, "file")


def test_a_recording_is_of_one_kind(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"one")
    a = tmp_path / "a.wav"
    assert Places.of([a, a], [], [], "file").normal == [a]
    for kinds in (([a], [a], []), ([a], [], [tmp_path]), ([], [a], [a])):
        with pytest.raises(UserError, match=rf"{a} is named twice, of normal recordings, false alarms and missed"):
            Places.of(*kinds, "file")


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert Places.of([tmp_path], [], [], "file").normal == [tmp_path / "a.wav"]
