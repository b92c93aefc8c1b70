"""The samples of a recording, or of a part of it, as PCM16 at the rate of the set: of one channel, or of two.

Plain PCM16 WAV, which nearly all corpora are, is read without a decoder; everything else goes through soundfile.
Legend: N samples per channel, K channels.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from asd.audio.decode import open_sound
from asd.audio.header import BadFileError, Header
from asd.audio.levels import cancel, has_dead_channel, in_other_scale, level_faults
from asd.audio.wav import HEADER_BYTES, canonical_header

PCM16_SUBTYPES = ("PCM_16", "PCM_U8", "PCM_S8", "ULAW", "ALAW")  # whose samples fit 16 bits without rounding
FULL_SCALE = 32768
MAX_RATIO = 400_000  # of the whole numbers whose ratio two rates have: the filter has 20 times as many, 32 MiB
MAX_FACTOR = 1000  # by which resampling may multiply samples
AVERAGE = "average"

Pair = tuple[int, int]  # the microphone near the machine, and the reference far from it
Channel = int | Literal["average"] | Pair | None


@dataclass
class Conversion:
    """What was done to samples on the way, counted."""

    to_pcm16: int = 0
    resampled: int = 0
    clipped_samples: int = 0
    channel_chosen: int = 0
    two_channels_chosen: int = 0
    channels_averaged: int = 0
    faults: Counter[str] = field(default_factory=Counter)  # of levels: asd.audio.levels.FAULTS

    def add(self, other: Conversion) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Target:
    """What every packed clip is to be."""

    sample_rate: int
    channel: Channel = None
    codec: str = "pcm16"

    @property
    def channels(self) -> int:
        return 2 if isinstance(self.channel, tuple) else 1

    def frames(self, header: Header) -> int:
        """Samples of a recording once it has the set's rate (rounded up)."""
        return -(-header.frames * self.sample_rate // header.rate)


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of a recording, from `begin` on, at its own rate."""

    begin: int
    frames: int


def read_channel(text: str) -> Channel:
    """`0`, `average`, or `0,1` for near and reference microphone. ValueError says what is wrong with others."""
    if text == AVERAGE:
        return "average"
    numbers = text.split(",")
    if len(numbers) > 2 or not all(number.isascii() and number.isdecimal() for number in numbers):
        raise ValueError(f"{text!r} is no number from 0, no two of them (near,reference), nor {AVERAGE!r}")
    first, *second = map(int, numbers)
    if second == [first]:
        raise ValueError(f"{text!r}: near and reference microphone are two channels")
    return (first, second[0]) if second else first


def channel_words(channel: Channel) -> str:
    """As `read_channel` reads it."""
    return ",".join(map(str, channel)) if isinstance(channel, tuple) else str(channel)


def check_channels(header: Header, target: Target) -> None:
    """Raises BadFileError where a recording has several channels without a choice, or not those that were chosen."""
    if target.channel is None and header.channels > 1:
        raise BadFileError("channels", f"it has {header.channels} channels")
    chosen = (target.channel,) if isinstance(target.channel, int) else target.channel
    if isinstance(chosen, tuple) and max(chosen) >= header.channels:
        raise BadFileError(
            "channels", f"it has {header.channels} channel{'s' * (header.channels > 1)}, numbered from 0"
        )


def check_rate(header: Header, target: Target) -> None:
    """Raises BadFileError for a rate, hardly a real one, from which resampling takes more memory than there is."""
    rate, wanted = header.rate, target.sample_rate
    common = math.gcd(rate, wanted)
    if max(rate, wanted) // common > MAX_RATIO or wanted > MAX_FACTOR * rate:
        raise BadFileError("unreadable", f"its sample rate, {rate} Hz, cannot be resampled to {wanted} Hz")


def read_canonical(path: Path, header: Header, target: Target) -> bytes | None:
    """The whole WAV of a recording that already is what packing writes, in one read; None where it is not."""
    if target.channels > 1 or header.channels > 1:  # its channels are to be looked at, or chosen from
        return None
    if header.data_offset != HEADER_BYTES or header.rate != target.sample_rate:
        return None
    payload = 2 * header.frames
    whole = _read_bytes(path, 0, HEADER_BYTES + payload)
    return whole if whole.startswith(canonical_header(payload, header.rate)) else None


def read_pcm16(path: Path, header: Header, target: Target, part: Part | None = None) -> tuple[np.ndarray, Conversion]:
    """A recording's samples, or those of a part of it, int16 at the target's rate, and what was done to them.

    (N,), or where the target has two channels (N, 2).

    Raises BadFileError where the samples cannot be decoded or are fewer than the header says.
    """
    done, part = Conversion(), part or Part(0, header.frames)
    if header.data_offset >= 0:
        frame_bytes = 2 * header.channels
        raw = _read_bytes(path, header.data_offset + frame_bytes * part.begin, frame_bytes * part.frames)
        samples = np.frombuffer(raw, dtype="<i2").reshape(-1, header.channels)
    else:
        samples = _decode(path, header, part, done)
    chosen = _chosen(samples, target.channel, done)
    done.faults.update(level_faults(chosen if chosen.ndim == 1 else chosen[:, 0]))
    if header.rate != target.sample_rate:
        chosen = _resample(chosen, header.rate, target.sample_rate, done)
    return np.ascontiguousarray(chosen, dtype="<i2"), done


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
        with open_sound(path, header.extent) as sound:
            if part.begin:
                sound.seek(part.begin)
            samples = sound.read(part.frames, dtype="int16" if exact else "float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise BadFileError("unreadable", f"it cannot be decoded ({str(error).split(': ', 1)[-1]})") from None
    if len(samples) != part.frames:
        raise BadFileError(
            "truncated", f"its header says {header.frames} samples, {part.begin + len(samples)} are there"
        )
    if exact:
        return samples
    if not np.isfinite(samples).all():
        raise BadFileError("unreadable", "it contains non-finite samples")
    if in_other_scale(samples):
        done.faults["scale"] += 1
    done.to_pcm16 += 1
    with np.errstate(over="ignore"):  # what overflows is clipped
        return _round(samples * FULL_SCALE, done)


def _chosen(samples: np.ndarray, channel: Channel, done: Conversion) -> np.ndarray:
    """(N, K) → (N,), or (N, 2) of two channels."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    if has_dead_channel(samples):
        done.faults["dead_channel"] += 1
    if channel == AVERAGE:
        done.channels_averaged += 1
        if cancel(samples):
            done.faults["cancelled"] += 1
        return np.rint(samples.mean(axis=1)).astype(np.int16)
    if isinstance(channel, tuple):
        done.two_channels_chosen += 1
        return samples[:, list(channel)]
    assert isinstance(channel, int), "scan refuses several channels without a choice"
    done.channel_chosen += 1
    return samples[:, channel]


def _resample(samples: np.ndarray, rate: int, new_rate: int, done: Conversion) -> np.ndarray:
    """Band-limited resampling by the exact ratio along the first axis, int16 (N, …) → int16 (N', …)."""
    from scipy.signal import resample_poly  # here: a set at one rate does not need it

    done.resampled += 1
    common = math.gcd(rate, new_rate)
    up, down = new_rate // common, rate // common
    return _round(resample_poly(samples.astype(np.float32), up, down, window=_low_pass(max(up, down))), done)


@lru_cache(maxsize=4)
def _low_pass(factor: int) -> np.ndarray:
    """That of resample_poly, which would design it anew for every clip: 20 zero crossings under a Kaiser window."""
    from scipy.signal import firwin

    return firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0)).astype(np.float32)


def _round(samples: np.ndarray, done: Conversion) -> np.ndarray:
    """To int16; samples beyond its range are clipped and counted."""
    rounded = np.rint(samples)
    inside = np.clip(rounded, -FULL_SCALE, FULL_SCALE - 1)
    done.clipped_samples += int(np.count_nonzero(inside != rounded))
    return inside.astype(np.int16)
