"""Odd windows are kept, the newest, and a full disk is no reason to stop listening."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.audio.windows import Window
from asd.detector.live import kept
from asd.detector.live.kept import OddWindows


def test_the_newest_are_kept_with_their_numbers(tmp_path: Path) -> None:
    odd = OddWindows(tmp_path / "odd", 3, 16_000)
    (tmp_path / "odd" / "mine.wav").write_bytes(b"x")
    names = [odd.keep(Window(float(n), np.full(100, n, np.int16)), 0.5 + n, {"n": n}) for n in range(5)]
    there = sorted(path.name for path in (tmp_path / "odd").glob("odd_*.wav"))
    assert there == names[2:]
    assert len([*(tmp_path / "odd").glob("odd_*.json")]) == 3
    samples, rate = soundfile.read(tmp_path / "odd" / str(names[4]), dtype="int16")
    assert (rate, samples.tolist()) == (16_000, [4] * 100)
    about = json.loads((tmp_path / "odd" / str(names[4])).with_suffix(".json").read_text())
    assert about == {"at_s": 4.0, "score": 4.5, "why": {"n": 4}}
    assert (tmp_path / "odd" / "mine.wav").exists()


def test_none_goes_before_there_are_too_many_and_what_was_torn_goes_at_once(tmp_path: Path) -> None:
    (tmp_path / "odd_1.wav.partial").write_bytes(b"x")
    odd = OddWindows(tmp_path, 10, 16_000)
    names = [odd.keep(Window(float(n), np.full(9, n, np.int16)), 0.5, None) for n in range(8)]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".json") == names


def test_a_folder_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        OddWindows(tmp_path / "file", 3, 16_000)


def test_a_full_disk_keeps_nothing_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "whole", full)
    odd, window = OddWindows(tmp_path, 3, 16_000), Window(0.0, np.ones(9, np.int16))
    assert [odd.keep(window, 1.0, None) for _ in range(3)] == [None, None, None]
    assert [*tmp_path.iterdir()] == []
    (said,) = caplog.messages
    assert said == f"--keep-odd {tmp_path}: No space left on device: odd windows are not kept until there is room"
    monkeypatch.undo()
    assert odd.keep(window, 1.0, None) is not None
