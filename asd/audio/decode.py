"""What is not plain PCM16, opened by soundfile; it sees the samples alone where it would believe a false header."""

from __future__ import annotations

import io
import os
from pathlib import Path

import soundfile

from asd.audio.header import Header


def open_sound(path: Path, header: Header) -> soundfile.SoundFile:
    """The samples of a recording, all that `header` speaks of. Raises what soundfile.SoundFile raises."""
    extent = header.extent
    if extent is None or extent.form is None:
        return soundfile.SoundFile(path)
    form = extent.form
    return soundfile.SoundFile(
        _PartOfFile(path, extent.offset, extent.bytes),
        samplerate=form.rate, channels=form.channels, subtype=form.subtype, endian=form.endian, format="RAW",
    )  # fmt: skip


class _PartOfFile(io.RawIOBase):
    """Some bytes of a file, as a file."""

    def __init__(self, path: Path, begin: int, length: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._begin, self._length, self._at = begin, length, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._length - self._at))
        raw = os.pread(self._file.fileno(), wanted, self._begin + self._at)
        buffer[: len(raw)] = raw
        self._at += len(raw)
        return len(raw)

    def close(self) -> None:
        self._file.close()
        super().close()
