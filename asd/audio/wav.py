"""The WAV container (RIFF, RIFX, RF64, BW64): what its header promises, and the one header that packing writes."""

from __future__ import annotations

import os
import struct
from typing import Literal

from asd.audio.extent import Extent, Form, among_chunks, chunks

HEADER_BYTES = 44
PCM, EXTENSIBLE = 0x0001, 0xFFFE
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # of KSDATAFORMAT_SUBTYPE_…, behind the code
SUBTYPES = {
    (PCM, 8): "PCM_U8", (PCM, 16): "PCM_16", (PCM, 24): "PCM_24", (PCM, 32): "PCM_32",
    (3, 32): "FLOAT", (3, 64): "DOUBLE", (6, 8): "ALAW", (7, 8): "ULAW",
}  # fmt: skip
Order = Literal["big", "little"]


def read_wav_extent(descriptor: int, size: int) -> Extent | None:
    """Of an open file of `size` bytes; None where there is no WAV with a format and a data chunk."""
    magic = os.pread(descriptor, 12, 0)
    if magic[:4] not in (b"RIFF", b"RIFX", b"RF64", b"BW64") or magic[8:] != b"WAVE":
        return None
    order: Order = "big" if magic[:4] == b"RIFX" else "little"
    riff, long_size = int.from_bytes(magic[4:8], order), None
    bits_at, in_four_bytes = 0, False
    form: Form | None = None
    for tag, begin, length in chunks(descriptor, 12, size, big=order == "big"):
        if tag == b"ds64" and length >= 16:
            riff, long_size = struct.unpack("<QQ", os.pread(descriptor, 16, begin))
        elif tag == b"fmt " and length >= 16:
            form, bits_at = _form(os.pread(descriptor, min(length, 40), begin), order), begin + 14
            in_four_bytes = form.subtype == "PCM_32" and os.pread(descriptor, 2, bits_at) == (24).to_bytes(2, order)
        elif tag == b"data":
            if form is None:
                return None
            declared, bits = (long_size, 64) if long_size is not None and length == 0xFFFFFFFF else (length, 32)
            big = order == "big"
            extent = among_chunks(descriptor, begin, declared, size, form, bits=bits, said=riff, big=big)
            if in_four_bytes and not extent.lie and not extent.cut:  # a decoder would take them for 3
                return Extent(0, size, unread=extent.unread, patch=(bits_at, (32).to_bytes(2, order)))
            return extent
    return None


def _form(chunk: bytes, order: Order) -> Form:
    code, channels, rate, _, frame_bytes, bits = struct.unpack((">" if order == "big" else "<") + "HHIIHH", chunk[:16])
    if code == EXTENSIBLE and chunk[26:40] == GUID_TAIL:
        code = int.from_bytes(chunk[24:26], order)
    if code == PCM and bits == 24 and frame_bytes == 4 * channels:  # the upper three bytes of each four
        bits = 32
    fits = channels > 0 and frame_bytes * 8 == channels * bits
    return Form(SUBTYPES.get((code, bits), "") if fits else "", order.upper(), rate, channels, frame_bytes)


def canonical_header(payload_bytes: int, rate: int, channels: int = 1) -> bytes:
    """The 44 bytes before PCM16 samples."""
    frame_bytes = 2 * channels
    format_chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, PCM, channels, rate, frame_bytes * rate, frame_bytes, 16)
    riff = struct.pack("<4sI4s", b"RIFF", payload_bytes + HEADER_BYTES - 8, b"WAVE")
    return riff + format_chunk + struct.pack("<4sI", b"data", payload_bytes)
