"""Sources die and come back: pipes without a writer, files that are begun anew."""

from __future__ import annotations

import os
import sys
import threading
import wave
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from pathlib import Path

import pytest

from asd.detector.live import sources
from asd.detector.live.sources import GrowingFile, Pipe, open_source
from asd.errors import UserError

STEPS = 400  # pieces, most of them empty, after which a test has waited long enough


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "POLL_S", 0.01)


def until(pieces: Iterator[bytes], wanted: bytes, when_empty: Callable[[], None] = lambda: None) -> None:
    """Read until these bytes have come; when_empty: done once, at the first moment without any."""
    found = b""
    for piece in islice(pieces, STEPS):
        found += piece
        if found == wanted:
            return
        assert wanted.startswith(found), found
        if not piece:
            when_empty()
    raise AssertionError(found)


def write(path: Path, content: bytes) -> threading.Thread:
    """A writer of a pipe that comes, writes and goes."""
    thread = threading.Thread(target=path.write_bytes, args=(content,))
    thread.start()
    return thread


def test_a_pipe_waits_for_its_next_writer_and_for_another_pipe(tmp_path: Path) -> None:
    path = tmp_path / "sound"
    os.mkfifo(path)
    pieces = open_source(str(path), 16_000, 1).pieces()
    assert next(pieces) == b""
    for content in (b"first1", b"second"):
        writer = write(path, content)
        until(pieces, content)
        writer.join()
    path.unlink()
    assert next(pieces) == b""
    os.mkfifo(path)
    writer = write(path, b"third3")
    until(pieces, b"third3")
    writer.join()
    pieces.close()  # type: ignore[attr-defined]


def test_standard_input_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").write_bytes(b"abcdef")
    with (tmp_path / "in").open("rb") as file:
        monkeypatch.setattr("sys.stdin", file)
        assert b"".join(open_source("-", 16_000, 1).pieces()) == b"abcdef"


def test_a_file_is_followed_also_where_it_is_begun_anew_or_rotated(tmp_path: Path) -> None:
    path = tmp_path / "sound.raw"
    path.write_bytes(b"1234")
    source = open_source(str(path), 16_000, 1)
    assert isinstance(source, GrowingFile)
    pieces = source.pieces()
    until(pieces, b"1234")
    with path.open("ab") as file:
        file.write(b"5678")
    until(pieces, b"5678")
    path.write_bytes(b"56")  # shorter
    until(pieces, b"56")
    path.rename(tmp_path / "sound.1")
    assert next(pieces) == b""
    path.write_bytes(b"rotated!")
    until(pieces, b"rotated!")


def test_of_a_wav_the_samples_alone_are_heard(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"12345678")
    until(open_source(str(path), 8000, 2).pieces(), b"12345678")
    with pytest.raises(UserError, match=r"has 8000 Hz, 2 channels, 16 bits, where 16000 Hz, 1 channels"):
        open_source(str(path), 16_000, 1)


def test_a_wav_is_waited_for_until_its_header_is_there(tmp_path: Path) -> None:
    """It is begun anew byte by byte, and its size is not filled in."""
    path, made = tmp_path / "sound.wav", tmp_path / "made.wav"
    with wave.open(str(made), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"12345678")
    whole = made.read_bytes()
    path.write_bytes(whole)
    pieces = open_source(str(path), 16_000, 1).pieces()
    until(pieces, b"12345678")
    unfilled = whole[:4] + bytes(4) + whole[8:40] + bytes(4)
    for size in (0, 3, 4, 20, 43):
        path.write_bytes(unfilled[:size])
        assert [*islice(pieces, 3)] == [b""] * 3
    path.write_bytes(unfilled + b"abcd")
    until(pieces, b"abcd")


def test_what_a_writer_left_of_a_frame_tears_no_sample_of_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "sound"
    os.mkfifo(path)
    pieces = open_source(str(path), 16_000, 2).pieces()
    assert next(pieces) == b""
    with path.open("wb", buffering=0) as file:
        for byte in b"LlRrLlR":
            file.write(bytes([byte]))
        until(pieces, b"LlRr")
    assert [*islice(pieces, 2)] == [b"", b""]
    writer = write(path, b"lLrR")
    until(pieces, b"lLrR")
    writer.join()
    pieces.close()  # type: ignore[attr-defined]


def test_a_wav_in_a_pipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound"
    os.mkfifo(path)
    pieces = open_source(str(path), 16_000, 1).pieces()
    assert next(pieces) == b""
    writer = write(path, b"RIFF1234WAVEfmt 5678")
    with pytest.raises(UserError, match="a WAV comes, where raw samples are expected: arecord -t raw"):
        until(pieces, b"none")
    writer.join()


def test_what_is_no_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is a folder"):
        open_source(str(tmp_path), 16_000, 1)
    with pytest.raises(UserError, match=r"--source .*nowhere"):
        open_source(str(tmp_path / "nowhere"), 16_000, 1)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="nothing is piped into the command"):
        patch.setattr("sys.stdin", None)
        open_source("-", 16_000, 1)
    with pytest.raises(UserError, match=r"hw9: (there is no such file, and a device needs|no file of that name)"):
        open_source("hw9", 16_000, 1)
    (tmp_path / "bad").write_bytes(b"RIFF1234WAVEdata1234")
    with pytest.raises(UserError, match="it is no WAV"):
        open_source(str(tmp_path / "bad"), 16_000, 1)
    (tmp_path / "sound.flac").write_bytes(b"fLaC")
    with pytest.raises(
        UserError, match=r"sound\.flac: \.flac cannot be followed while it grows: .* WAV or raw samples"
    ):
        open_source(str(tmp_path / "sound.flac"), 16_000, 1)
    assert Pipe(None, 1).is_live


class Microphone:
    """In the place of the module sounddevice: a device that gives so many pieces at once, then nothing."""

    PortAudioError = OSError

    def __init__(self, pieces: int) -> None:
        self.pieces, self.asked = pieces, dict[str, object]()

    def check_input_settings(self, **form: object) -> None:
        self.asked = form

    def RawInputStream(self, callback: Callable[..., None], blocksize: int, **form: object) -> Microphone:  # noqa: N802
        for number in range(self.pieces):
            callback(bytes([number % 256]) * 2 * blocksize, blocksize, None, None)
        self.asked |= {"blocksize": blocksize}
        return self

    active = True

    def __enter__(self) -> Microphone:
        return self

    def __exit__(self, *error: object) -> None: ...


@pytest.mark.parametrize(("given", "kept"), [(200, 200), (310, 300)])
def test_half_a_minute_of_a_device_waits_while_something_is_computed(
    given: int, kept: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    microphone = Microphone(given)
    monkeypatch.setitem(sys.modules, "sounddevice", microphone)
    source = open_source("hw9", 16_000, 1)
    heard = list(takewhile(len, source.pieces()))
    assert microphone.asked == {
        "device": "hw9", "samplerate": 16_000, "channels": 1, "dtype": "int16", "blocksize": 1600,
    }  # fmt: skip
    assert [piece[0] for piece in heard] == [number % 256 for number in range(given - kept, given)]
    lost = ["--source hw9: this computer is too slow: sound of it is lost"] if kept < given else []
    assert caplog.messages == lost
