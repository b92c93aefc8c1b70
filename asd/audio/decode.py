"""What is not plain PCM16, opened by soundfile; it sees the samples alone where it would believe a false header."""

from __future__ import annotations

import io
import os
from pathlib import Path

import soundfile

from asd.audio.extent import Extent


def open_sound(path: Path, extent: Extent | None) -> soundfile.SoundFile:
    """A recording by soundfile; extent: of one whose header is false. Raises what soundfile.SoundFile raises."""
    if extent is None or (extent.form is None and extent.patch is None):
        return soundfile.SoundFile(path)
    part = _PartOfFile(path, extent)
    form = extent.form
    if form is None:
        return soundfile.SoundFile(part)
    return soundfile.SoundFile(
        part, samplerate=form.rate, channels=form.channels, subtype=form.subtype, endian=form.endian, format="RAW"
    )


class _PartOfFile(io.RawIOBase):
    """The bytes of an extent as a file, some of them replaced."""

    def __init__(self, path: Path, extent: Extent) -> None:
        self._file = path.open("rb", buffering=0)
        self._begin, self._length, self._at = extent.offset, extent.size, 0
        self._patch_at, self._patch = extent.patch or (0, b"")

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
        raw = bytearray(os.pread(self._file.fileno(), wanted, self._begin + self._at))
        for at, byte in enumerate(self._patch, self._patch_at - self._at):
            if 0 <= at < len(raw):
                raw[at] = byte
        buffer[: len(raw)] = raw
        self._at += len(raw)
        return len(raw)

    def close(self) -> None:
        self._file.close()
        super().close()
