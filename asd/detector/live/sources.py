"""Where live sound comes from: raw 16-bit samples of a pipe, a growing file or a device, which may die and come back.

A source yields bytes as they come, in whole frames (a sample of each channel), and b"" where for POLL_S nothing came.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import queue
import select
import stat
import sys
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from asd.audio.listing import is_recording
from asd.errors import UserError

log = logging.getLogger(__name__)

POLL_S = 0.25
PIECE = 1 << 16  # bytes read at once; the header of a WAV is shorter
FOLLOWED = (".wav", ".wave", ".bwf", ".raw", ".pcm")  # endings of recordings that may be read while they grow
DEVICE_S, WAITING_S = (
    0.1,
    30.0,
)  # a piece of a device; what may wait of it: when the detector is slower, the oldest is lost


class Source(Protocol):
    """What `listen` reads."""

    is_live: bool  # sound comes as fast as it is heard, so that a clock can tell its rate

    def pieces(self) -> Iterator[bytes]:
        """16-bit little-endian samples, channels in turn; b"" where nothing came. It ends where there is no more."""


class Frames:
    """Whole frames from bytes that come in pieces of any size."""

    def __init__(self, channels: int) -> None:
        self._size, self._rest = 2 * channels, b""

    def take(self, piece: bytes) -> bytes:
        """All frames that are complete with this piece, which may be none."""
        raw = self._rest + piece
        whole = len(raw) - len(raw) % self._size
        self._rest = raw[whole:]
        return raw[:whole]


def open_source(place: str, sample_rate: int, channels: int) -> Source:
    """Standard input (`-`), a pipe or file of that name, or else a device. UserError where there is none such."""
    if place == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise UserError("--source -: nothing is piped into the command: arecord -t raw … | python eval.py listen …")
        return Pipe(None, channels)
    path = Path(place).expanduser()
    if not path.exists():
        if os.sep in place:
            raise UserError(f"--source {place}: there is no such file or pipe (mkfifo makes a pipe)")
        return Device(place, sample_rate, channels)
    if path.is_dir():
        raise UserError(f"--source {place} is a folder: name a pipe, a file or a device")
    if not path.is_file():
        return Pipe(path, channels)
    if is_recording(path) and path.suffix.lower() not in FOLLOWED:
        raise UserError(
            f"--source {place}: {path.suffix} cannot be followed while it grows: have the recorder write WAV or raw "
            "samples; eval.py clips scores finished recordings"
        )
    return GrowingFile(path, sample_rate, channels)


class Pipe:
    """Standard input, which ends, or a named pipe, which waits for its next writer, also where it is made anew."""

    is_live = True

    def __init__(self, path: Path | None, channels: int) -> None:
        self._path, self._channels = path, channels

    def pieces(self) -> Iterator[bytes]:
        """UserError where a WAV comes."""
        while True:
            try:
                descriptor = sys.stdin.fileno() if self._path is None else _open_pipe(self._path)
            except OSError:  # between two pipes of that name
                yield _nothing()
                continue
            try:
                yield from self._of(descriptor)
            finally:
                if self._path is not None:
                    os.close(descriptor)
            if self._path is None:
                return

    def _of(self, descriptor: int) -> Iterator[bytes]:
        """Until standard input ends, or the name is another pipe's. What a writer left of a frame, and went, is
        dropped: the next one's samples would be torn by it."""
        frames = Frames(self._channels)
        while True:
            ready, _, _ = select.select([descriptor], [], [], POLL_S)
            piece = os.read(descriptor, PIECE) if ready else None
            if piece:
                if piece[:4] == b"RIFF" and piece[8:12] == b"WAVE":  # what recorders write unless told otherwise
                    raise UserError(
                        f"--source {self._path or '-'}: a WAV comes, where raw samples are expected: arecord -t raw, "
                        "ffmpeg -f s16le, sox -t raw"
                    )
                if whole := frames.take(piece):
                    yield whole
            elif self._path is None:
                if piece == b"":
                    return
                yield b""
            elif not _is_same(descriptor, self._path):
                return
            elif piece is None:
                yield b""
            else:  # no writer: select does not wait
                frames = Frames(self._channels)
                yield _nothing()


class GrowingFile:
    """Raw samples, or a WAV, that something else is writing; followed where it is begun anew or another takes its name.

    UserError where it is a WAV of another form.
    """

    is_live = False

    def __init__(self, path: Path, sample_rate: int, channels: int) -> None:
        self._path, self._form = path, (sample_rate, channels, 2)
        with path.open("rb") as file:
            self._skip_header(file)

    def pieces(self) -> Iterator[bytes]:
        while True:
            try:
                file = self._path.open("rb", buffering=0)
            except OSError:
                yield _nothing()
                continue
            with file:
                if self._skip_header(file):
                    yield from self._of(file)
                else:
                    yield _nothing()

    def _of(self, file: Any) -> Iterator[bytes]:
        frames = Frames(self._form[1])
        while True:
            if piece := file.read(PIECE):
                if whole := frames.take(piece):
                    yield whole
            elif not _is_same(file.fileno(), self._path) or os.fstat(file.fileno()).st_size < file.tell():
                return
            else:
                yield _nothing()

    def _skip_header(self, file: Any) -> bool:
        """Of a WAV, up to its samples; sizes that its writer has not filled in yet do not matter. False where it is
        not known yet what the file is, or its header is not complete."""
        head = file.read(PIECE)
        file.seek(0)
        if not b"RIFF".startswith(head[:4]):
            return True
        if len(head) < PIECE and not 0 <= head.find(b"data") <= len(head) - 8:
            return False
        copy = io.BytesIO(head[:4] + b"\xff" * 4 + head[8:])
        try:
            header = wave.Wave_read(copy)
            form = (header.getframerate(), header.getnchannels(), header.getsampwidth())
        except (wave.Error, EOFError) as error:
            raise UserError(
                f"--source {self._path}: it is no WAV of 16-bit samples ({error}): have it written so"
            ) from None
        if form != self._form:
            rate, channels, size = form
            raise UserError(
                f"--source {self._path} has {rate} Hz, {channels} channels, {8 * size} bits, where {self._form[0]} Hz, "
                f"{self._form[1]} channels, 16 bits are expected: name --channels, or convert it"
            )
        file.seek(copy.tell())
        return True


class Device:
    """A microphone by its name or number, through PortAudio; opened again where it was unplugged."""

    is_live = True

    def __init__(self, name: str, sample_rate: int, channels: int) -> None:
        try:
            self._sound: Any = importlib.import_module("sounddevice")
        except (ImportError, OSError) as error:
            missing = "sounddevice (pip install -r requirements-live.txt)"
            if isinstance(error, OSError):
                missing = "PortAudio (on Debian and Ubuntu: apt install libportaudio2)"
            raise UserError(f"--source {name}: there is no such file, and a device needs {missing}") from None
        self._name = int(name) if name.isdecimal() else name
        self._form = {"samplerate": sample_rate, "channels": channels, "dtype": "int16"}
        self._block = round(DEVICE_S * sample_rate)
        try:
            self._sound.check_input_settings(device=self._name, **self._form)
        except (ValueError, self._sound.PortAudioError) as error:
            raise UserError(f"--source {name}: no file of that name, and as a device: {error}") from None

    def pieces(self) -> Iterator[bytes]:
        while True:
            heard: queue.Queue[bytes] = queue.Queue(round(WAITING_S / DEVICE_S))
            lost = threading.Event()

            def take(data: Any, *rest: Any, heard: queue.Queue[bytes] = heard, lost: threading.Event = lost) -> None:
                if heard.full():
                    lost.set()
                    with suppress(queue.Empty):
                        heard.get_nowait()
                heard.put_nowait(bytes(data))

            opened = self._sound.RawInputStream
            with (
                suppress(self._sound.PortAudioError),
                opened(device=self._name, callback=take, blocksize=self._block, **self._form) as stream,
            ):
                while stream.active:
                    if lost.is_set():
                        lost.clear()
                        log.warning(f"--source {self._name}: this computer is too slow: sound of it is lost")
                    try:
                        yield heard.get(timeout=POLL_S)
                    except queue.Empty:
                        yield b""
            yield _nothing()


def _open_pipe(path: Path) -> int:
    """Without waiting for a writer. OSError where it is gone."""
    if not stat.S_ISFIFO(path.stat().st_mode) and not stat.S_ISCHR(path.stat().st_mode):
        raise OSError(f"{path} is no pipe any more")
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def _is_same(descriptor: int, path: Path) -> bool:
    """Whether the name is that of the open file, or of nothing."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return True


def _nothing() -> bytes:
    time.sleep(POLL_S)
    return b""
