"""The RIFF WAV container: what its header promises, and the one canonical header that packing writes."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

HEADER_BYTES = 44
MOST_CHUNKS = 1000  # before the samples: with more, finding them could take hours
PCM, EXTENSIBLE = 0x0001, 0xFFFE
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")  # KSDATAFORMAT_SUBTYPE_PCM
STREAMED_SIZES = (0x7FFFFFFF, 0xFFFFFFFF)  # what a recorder that writes into a pipe puts there


@dataclass(frozen=True, slots=True)
class WavHeader:
    """Where the samples of a WAV file lie; `declared` and `present` are bytes of samples promised and there."""

    is_pcm16: bool
    rate: int
    channels: int
    frame_bytes: int
    data_offset: int
    declared: int
    present: int


def read_wav_header(descriptor: int, size: int) -> WavHeader | None:
    """The header of an open file of `size` bytes; None where there is no RIFF WAV with a format and a data chunk."""
    magic = os.pread(descriptor, 12, 0)
    if magic[:4] != b"RIFF" or magic[8:] != b"WAVE":
        return None
    position, format_chunk = 12, b""
    for _ in range(MOST_CHUNKS):
        if position + 8 > size:
            break
        tag, length = struct.unpack("<4sI", os.pread(descriptor, 8, position))
        if tag == b"data":
            return _header(format_chunk, position + 8, length, size) if len(format_chunk) >= 16 else None
        if tag == b"fmt ":
            format_chunk = os.pread(descriptor, min(length, 40), position + 8)
        position += 8 + length + (length & 1)
    return None


def _header(format_chunk: bytes, data_offset: int, declared: int, size: int) -> WavHeader:
    code, channels, rate, _, frame_bytes, bits = struct.unpack("<HHIIHH", format_chunk[:16])
    if code == EXTENSIBLE and format_chunk[24:40] == PCM_GUID:
        code = PCM
    present = size - data_offset
    if declared in STREAMED_SIZES:
        declared = present - present % max(frame_bytes, 1)
    is_pcm16 = code == PCM and bits == 16 and channels > 0 and frame_bytes == 2 * channels
    return WavHeader(is_pcm16, rate, channels, frame_bytes, data_offset, declared, min(present, declared))


def canonical_header(payload_bytes: int, rate: int) -> bytes:
    """The 44 bytes before mono PCM16 samples."""
    format_chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, PCM, 1, rate, 2 * rate, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", payload_bytes + HEADER_BYTES - 8, b"WAVE")
    return riff + format_chunk + struct.pack("<4sI", b"data", payload_bytes)
