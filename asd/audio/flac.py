"""FLAC streams with no length in the header (written to a pipe), or too small a one: found by their last frame.

Format: RFC 9639, sections 8.2 (STREAMINFO) and 9.1 (frame headers).
"""

from __future__ import annotations

import os
from functools import cache

from asd.audio.extent import Extent

TOTAL_AT, TOTAL_BITS = 21, 36  # of samples per channel: the byte that its first four bits share with another number
MIN_FRAME, MAX_FRAME = 11, 1 << 19  # bytes; the last frame is searched for in so many,
ENOUGH = 1 << 16  # or in so many where the header says that no frame has more
MAX_HEADER, MAX_TRIES = 16, 64  # bytes; of what only looks like a frame, so that a hostile file takes no hours
ID3 = 128  # bytes of the tags that some programs put behind the frames
SYNC = (b"\xff\xf8", b"\xff\xf9")  # of frames that are numbered, and of such that tell their first sample


def read_flac_extent(descriptor: int, size: int) -> Extent | None:
    """None where the header tells the length; else what to write in its place, or that the last frame is not whole.

    Of a header that says more samples than there are, decoding tells.
    """
    head = os.pread(descriptor, TOTAL_AT + 5, 0)
    packed = int.from_bytes(head[TOTAL_AT:], "big")
    if len(head) < TOTAL_AT + 5:
        return None
    declared = packed % (1 << TOTAL_BITS)
    short_frames = 0 < int.from_bytes(head[15:18], "big") <= ENOUGH
    begin = max(len(head), size - (ENOUGH if short_frames else MAX_FRAME))
    raw = os.pread(descriptor, size - begin, begin)
    frames = raw[:-ID3] if raw[-ID3:].startswith(b"TAG") else raw
    total = _last_sample(frames, block=int.from_bytes(head[10:12], "big"))
    if (declared > 0 and total <= declared) or total >= 1 << TOTAL_BITS:
        return None
    if total == 0:
        return Extent(0, size, cut="its header tells no length, and its last frame is not whole")
    patch = (TOTAL_AT, (packed - declared + total).to_bytes(5, "big"))
    says = f"says {declared} samples" if declared else "tells no length"
    return Extent(0, size, lie=f"its header {says}, its last frame ends with sample {total}", patch=patch)


def _last_sample(raw: bytes, block: int) -> int:
    """How many samples there are at the end of the frame that ends with `raw`; 0: none ends there."""
    at, tries = len(raw) - MIN_FRAME + 1, MAX_TRIES
    while tries and (at := max(raw.rfind(sync, 0, at + 1) for sync in SYNC)) >= 0:
        head = raw[at : at + MAX_HEADER]
        if _crc(head[: _header_length(head)], 8, 0x07) == 0:
            if _crc(raw[at:], 16, 0x8005) == 0:
                number, length = _number(head)
                return (number if head[1] & 1 else number * block) + _block_size(head, 4 + length)
            tries -= 1
    return 0


def _number(frame: bytes) -> tuple[int, int]:
    """(of a frame or its first sample, bytes that it takes), written as UTF-8 writes characters."""
    first, length = frame[4], 1
    if first < 0x80:
        return first, 1
    while first << length & 0x80:
        length += 1
    number = first & (0x7F >> length)
    for byte in frame[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    return number, length


def _block_size(frame: bytes, at: int) -> int:
    code = frame[2] >> 4
    if code in (6, 7):
        return int.from_bytes(frame[at : at + code - 5], "big") + 1
    return 192 if code < 2 else 576 << code - 2 if code < 6 else 256 << code - 8


def _header_length(frame: bytes) -> int:
    """With its checksum."""
    rate_bytes = {12: 1, 13: 2, 14: 2}.get(frame[2] & 15, 0)
    return 4 + _number(frame)[1] + max(0, (frame[2] >> 4) - 5) * ((frame[2] >> 4) in (6, 7)) + rate_bytes + 1


def _crc(raw: bytes, bits: int, polynomial: int) -> int:
    """0 where the last bytes are the checksum of those before."""
    table, value = _table(bits, polynomial), 0
    for byte in raw:
        value = (value << 8 ^ table[value >> bits - 8 ^ byte]) & (1 << bits) - 1
    return value


@cache
def _table(bits: int, polynomial: int) -> list[int]:
    table = []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 else 0)
            value &= (1 << bits) - 1
        table.append(value)
    return table
