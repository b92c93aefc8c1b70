"""One recording: its header, and its samples, or a part of them, as mono PCM16 at the rate of the set.

Plain PCM16 WAV, which nearly all corpora are, is read without a decoder; everything else goes through soundfile.
Legend: N samples per channel, K channels.
"""

from __future__ import annotations

import math
import os
import shlex
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from asd.audio.listing import is_foreign
from asd.audio.wav import HEADER_BYTES, WavHeader, canonical_header, read_wav_header

PCM16_SUBTYPES = ("PCM_16", "PCM_U8", "PCM_S8", "ULAW", "ALAW")  # whose samples fit 16 bits without rounding
PROBE_BYTES = 4096
FULL_SCALE = 32768
MOST_SAMPLES_A_BYTE = 1024  # digital silence in FLAC: 350
MOST_FILTER = 1 << 24  # numbers that resampling keeps, one odd rate to another: 128 MiB
LONGEST_FACTOR = 1000  # by which resampling may multiply samples
AVERAGE = "average"

Channel = int | Literal["average"] | None
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


@dataclass
class Conversion:
    """What was done to samples on the way, counted."""

    to_pcm16: int = 0
    resampled: int = 0
    clipped_samples: int = 0
    channel_chosen: int = 0
    channels_averaged: int = 0

    def add(self, other: Conversion) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Target:
    """What every packed clip is to be."""

    sample_rate: int
    channel: Channel = None
    codec: str = "pcm16"

    def frames(self, header: Header) -> int:
        """Samples of a recording once it has the set's rate (torchaudio's rule: rounded up)."""
        return -(-header.frames * self.sample_rate // header.rate)


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of a recording, from `begin` on, at its own rate."""

    begin: int
    frames: int


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
            raise BadFileError("unreadable", "it is no regular file but a folder, pipe or device")
        size = status.st_size
        if size == 0:
            raise BadFileError("zero-length", "the file is empty")
        return _open_header(descriptor, path, size)
    finally:
        os.close(descriptor)


def _open_header(descriptor: int, path: Path, size: int) -> Header:
    wav = read_wav_header(descriptor, size)
    if wav is None:
        return _decoder_header(path, _probe(descriptor, 0, size))
    if wav.present < wav.declared:
        raise BadFileError("truncated", f"its header says {wav.declared} bytes of samples, {wav.present} are there")
    probe = _probe(descriptor, wav.data_offset, wav.present)
    return _pcm16_header(wav, probe) if wav.is_pcm16 else _decoder_header(path, probe)


def _pcm16_header(wav: WavHeader, probe: int) -> Header:
    frames = wav.present // wav.frame_bytes
    if frames == 0:
        raise BadFileError("zero-length", "it holds no samples")
    if wav.rate == 0:
        raise BadFileError("unreadable", "its header gives a sample rate of 0")
    return Header(wav.rate, wav.channels, frames, "PCM_16", wav.data_offset, probe)


def _decoder_header(path: Path, probe: int) -> Header:
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError) as error:
        if is_foreign(path):
            raise BadFileError("foreign", f"libsndfile does not decode it; {_conversion(path)}") from None
        kind: BadKind = "truncated" if _starts_as_riff(path) else "unreadable"
        reason = str(error).split(": ", 1)[-1]
        raise BadFileError(kind, f"the audio header cannot be read ({reason})") from None
    if info.frames == 0:
        raise BadFileError("zero-length", "it holds no samples")
    if info.frames * info.channels > MOST_SAMPLES_A_BYTE * path.stat().st_size:
        raise BadFileError("truncated", f"its header says {info.frames} samples, which so small a file cannot hold")
    return Header(info.samplerate, info.channels, info.frames, info.subtype, -1, probe)


def _conversion(path: Path) -> str:
    wav = shlex.quote(str(path.with_suffix(".wav")))
    raw = path.suffix.lower() in (".raw", ".pcm")  # no header: only a person knows what it is
    how = "-f s16le -ar RATE -ac CHANNELS " if raw else ""
    return f"convert it: ffmpeg {how}-i {shlex.quote(str(path))} {wav}"


def _starts_as_riff(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(4) == b"RIFF"


def _probe(descriptor: int, offset: int, size: int) -> int:
    middle = offset + (size // 2 & ~1)
    return zlib.crc32(os.pread(descriptor, min(PROBE_BYTES, offset + size - middle), middle))


def check_channels(header: Header, target: Target) -> None:
    """Raises BadFileError where a recording has several channels without a choice, or not the one that was chosen."""
    if target.channel is None and header.channels > 1:
        raise BadFileError("channels", f"it has {header.channels} channels")
    if isinstance(target.channel, int) and target.channel >= header.channels:
        raise BadFileError("channels", f"it has {_channels(header.channels)}, numbered from 0")


def check_rate(header: Header, target: Target) -> None:
    """Raises BadFileError for a rate, hardly a real one, from which resampling takes more memory than there is."""
    rate, wanted = header.rate, target.sample_rate
    common = math.gcd(rate, wanted)
    if (rate // common) * (wanted // common) > MOST_FILTER or wanted > LONGEST_FACTOR * rate:
        raise BadFileError("unreadable", f"its sample rate, {rate} Hz, cannot be brought to {wanted} Hz")


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def read_canonical(path: Path, header: Header, target: Target) -> bytes | None:
    """The whole WAV of a recording that already is what packing writes, in one read; None where it is not."""
    if header.data_offset != HEADER_BYTES or header.channels != 1 or header.rate != target.sample_rate:
        return None
    payload = 2 * header.frames
    whole = _read_bytes(path, 0, HEADER_BYTES + payload)
    return whole if whole.startswith(canonical_header(payload, header.rate)) else None


def read_pcm16(path: Path, header: Header, target: Target, part: Part | None = None) -> tuple[np.ndarray, Conversion]:
    """A recording's samples, or those of a part of it, mono int16 at the target's rate (N,), and what was done to them.

    Raises BadFileError where the samples cannot be decoded or are fewer than the header says.
    """
    done, part = Conversion(), part or Part(0, header.frames)
    if header.data_offset >= 0:
        frame_bytes = 2 * header.channels
        raw = _read_bytes(path, header.data_offset + frame_bytes * part.begin, frame_bytes * part.frames)
        samples = np.frombuffer(raw, dtype="<i2").reshape(-1, header.channels)
    else:
        samples = _decode(path, header, part, done)
    mono = _one_channel(samples, target.channel, done)
    if header.rate != target.sample_rate:
        mono = _resample(mono, header.rate, target.sample_rate, done)
    return np.ascontiguousarray(mono, dtype="<i2"), done


def _read_bytes(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            raw = os.pread(file.fileno(), size, offset)
    except OSError as error:
        raise BadFileError("unreadable", error.strerror or str(error)) from None
    if len(raw) != size:
        raise BadFileError("truncated", f"it ends after {offset + len(raw)} of {offset + size} bytes")
    return raw


def _decode(path: Path, header: Header, part: Part, done: Conversion) -> np.ndarray:
    """Samples (N, K) int16 of a part of anything soundfile reads."""
    exact = header.subtype in PCM16_SUBTYPES
    try:
        samples, _ = soundfile.read(
            str(path), part.frames, part.begin, dtype="int16" if exact else "float32", always_2d=True
        )
    except (soundfile.SoundFileError, OSError) as error:
        raise BadFileError("unreadable", f"it cannot be decoded ({str(error).split(': ', 1)[-1]})") from None
    if len(samples) != part.frames:
        raise BadFileError(
            "truncated", f"its header says {header.frames} samples, {part.begin + len(samples)} are there"
        )
    if exact:
        return samples
    if not np.isfinite(samples).all():
        raise BadFileError("unreadable", "it holds samples that are not finite numbers")
    done.to_pcm16 += 1
    with np.errstate(over="ignore"):  # what overflows is clipped
        return _round(samples * FULL_SCALE, done)


def _one_channel(samples: np.ndarray, channel: Channel, done: Conversion) -> np.ndarray:
    """(N, K) → (N,)"""
    if samples.shape[1] == 1:
        return samples[:, 0]
    if channel == AVERAGE:
        done.channels_averaged += 1
        return np.rint(samples.mean(axis=1)).astype(np.int16)
    assert isinstance(channel, int), "scan refuses several channels without a choice"
    done.channel_chosen += 1
    return samples[:, channel]


def _resample(samples: np.ndarray, rate: int, new_rate: int, done: Conversion) -> np.ndarray:
    """Band-limited resampling by torchaudio, int16 (N,) → int16 (N',)."""
    import torch  # here: seconds of import that a set at one rate does not need
    import torchaudio.functional

    done.resampled += 1
    wave = torch.from_numpy(samples.astype(np.float32))
    return _round(torchaudio.functional.resample(wave, rate, new_rate).numpy(), done)


def _round(samples: np.ndarray, done: Conversion) -> np.ndarray:
    """To int16; samples beyond its range are clipped and counted."""
    rounded = np.rint(samples)
    inside = np.clip(rounded, -FULL_SCALE, FULL_SCALE - 1)
    done.clipped_samples += int(np.count_nonzero(inside != rounded))
    return inside.astype(np.int16)
