"""Properties of a recording without decoding it: rate, channels, length, and whether its header is wrong."""

from __future__ import annotations

import os
import shlex
import stat
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import soundfile

from asd.audio.containers import read_extent
from asd.audio.decode import open_sound
from asd.audio.extent import MAX_UNREAD, Extent, Form
from asd.audio.listing import is_foreign

PROBE_BYTES = 4096
MAX_SAMPLES_A_BYTE = 1024  # digital silence in FLAC: 350

BadKind = Literal["unreadable", "truncated", "zero-length", "channels", "foreign"]


class BadFileError(Exception):
    """A recording that cannot be packed: of which kind, and what is wrong with it."""

    def __init__(self, kind: BadKind, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind: BadKind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Header:
    """What a recording is, read without decoding it."""

    rate: int
    channels: int
    frames: int
    subtype: str  # as soundfile names it
    data_offset: int  # of the samples of a plain PCM16 WAV; -1: needs a decoder
    probe: int  # checksum of some bytes from the middle: equal for equal audio
    lie: str = ""  # what the file says of its size, where it is read to its end all the same
    unread: str = ""  # what lies behind the samples and is not heard
    extent: Extent | None = None  # of samples that a decoder must be shown, since it would believe the header


def read_header(path: Path) -> Header:
    """The header of a recording. Raises BadFileError for what is unreadable, cut short or without samples."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without, a pipe waits for its writer
    except OSError as error:
        nowhere = isinstance(error, FileNotFoundError) and path.is_symlink()
        what = "it is a link that leads nowhere" if nowhere else error.strerror or str(error)
        raise BadFileError("unreadable", what) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadFileError("unreadable", "it is not a regular file but a folder, pipe or device")
        size = status.st_size
        if size == 0:
            raise BadFileError("zero-length", "the file is empty")
        return _open_header(descriptor, path, size)
    finally:
        os.close(descriptor)


def _open_header(descriptor: int, path: Path, size: int) -> Header:
    extent = read_extent(descriptor, size)
    if extent is None:
        return _decoder_header(path, _probe(descriptor, 0, size))
    if extent.cut:
        raise BadFileError("truncated", extent.cut)
    probe = _probe(descriptor, extent.offset, extent.size)
    unread = f"{extent.unread} bytes behind its samples" if extent.unread > MAX_UNREAD else ""
    form = extent.form
    if form is not None and form.frame_bytes > 0 and (form.is_plain or (extent.lie and form.subtype)):
        return _uncompressed(extent, form, probe, unread)
    shown = extent if extent.patch else None
    return replace(_decoder_header(path, probe, shown, extent.lie), lie=extent.lie, unread=unread, extent=shown)


def _uncompressed(extent: Extent, form: Form, probe: int, unread: str) -> Header:
    frames = extent.size // form.frame_bytes
    if frames == 0:
        raise BadFileError("zero-length", "it holds no samples")
    if form.rate == 0:
        raise BadFileError("unreadable", "its header has a sample rate of 0")
    offset, shown = extent.offset if form.is_plain else -1, extent if extent.lie else None
    return Header(form.rate, form.channels, frames, form.subtype, offset, probe, extent.lie, unread, shown)


def _decoder_header(path: Path, probe: int, extent: Extent | None = None, lie: str = "") -> Header:
    try:
        with open_sound(path, extent) as sound:
            frames, rate, channels, subtype = sound.frames, sound.samplerate, sound.channels, sound.subtype
    except (soundfile.SoundFileError, OSError) as error:
        if is_foreign(path):
            raise BadFileError("foreign", f"libsndfile does not decode it; {_conversion(path)}") from None
        kind: BadKind = "truncated" if _starts_as_riff(path) else "unreadable"
        reason = str(error).split(": ", 1)[-1]
        raise BadFileError(kind, f"the audio header cannot be read ({reason})") from None
    if frames == 0 and lie:  # compressed, by a writer that could not go back
        copy = shlex.quote(str(path.with_suffix(f".whole{path.suffix}")))
        how = f"write it anew: ffmpeg -i {shlex.quote(str(path))} {copy}"
        raise BadFileError("unreadable", f"its header does not give the number of samples; {how}")
    if frames == 0:
        raise BadFileError("zero-length", "it holds no samples")
    if frames * channels > MAX_SAMPLES_A_BYTE * path.stat().st_size:
        raise BadFileError("truncated", f"its header says {frames} samples, more than its size allows")
    return Header(rate, channels, frames, subtype, -1, probe)


def _conversion(path: Path) -> str:
    wav = shlex.quote(str(path.with_suffix(".wav")))
    raw = path.suffix.lower() in (".raw", ".pcm")  # no header: only a person knows what it is
    how = "-f s16le -ar RATE -ac CHANNELS " if raw else ""
    return f"convert it: ffmpeg {how}-i {shlex.quote(str(path))} {wav}"


def _starts_as_riff(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(4) in (b"RIFF", b"RIFX", b"RF64", b"BW64")


def _probe(descriptor: int, offset: int, size: int) -> int:
    middle = offset + (size // 2 & ~1)
    return zlib.crc32(os.pread(descriptor, min(PROBE_BYTES, offset + size - middle), middle))
