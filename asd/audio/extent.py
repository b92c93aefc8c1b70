"""Where the samples of a sound file lie, and whether they are as many as its header says.

Three kinds of headers differ from their file: a copy that broke off (refused), a writer that could not go back to fill
in the size, such as a pipe or a recorder that lost its power (read to the end of the file), and a size of more than 32
bits that was written into 32 (the same).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

# What writers that cannot go back leave: 0, the largest numbers of 31 or 32 bits, less a header or a part of a page
# (arecord 0x80000000, sox 0x7FFFF000 and 0x7F000000, ffmpeg 0xFFFFFFFF, others 0xFFFFFFDB, 0x7FFFFF00 …), or less some
# buffers. The last may also be the size of a recording that was split at 2 or 4 GiB, of which a copy broke off: the
# header of the whole file is as large in both, but a placeholder stands over few samples.
PLACEHOLDERS, AROUND = (0x7F000000, 1 << 31, 1 << 32), 8192
BELOW, FEW = 1 << 24, 16  # bytes below the largest numbers; a FEWth of what is declared
MAX_OF_64 = 1 << 48
WRAP, TAIL = 1 << 32, 1 << 20  # bytes of other chunks that may follow samples whose size went round
UNPADDED = (b"data", b"fmt ", b"LIST", b"fact", b"bext", b"SSND", b"COMM")
BEHIND = (  # chunks behind samples, in RIFF and IFF
    rb"LIST|id3 |ID3 |bext|iXML|cue |smpl|fact|PEAK|_PMX|afsp|JUNK|PAD |"
    rb"NAME|AUTH|ANNO|\(c\) |COMT|COMM|MARK|INST|MIDI|AESD|APPL|SAXL|CHAN|FVER"
)
SAMPLES = (b"data", b"SSND", b"BODY", b"RIFF", b"RIFX", b"RF64", b"FORM")  # chunks of them, files that were joined
MAX_UNREAD = 4096  # bytes behind the samples that are not worth a word
MAX_CHUNKS = 1000  # before the samples: with more, finding them could take hours


@dataclass(frozen=True, slots=True)
class Form:
    """How uncompressed samples are written, in soundfile's words."""

    subtype: str  # empty: compressed, or unknown
    endian: str  # LITTLE, BIG
    rate: int
    channels: int
    frame_bytes: int

    @property
    def is_plain(self) -> bool:
        """As packing writes samples: they can be read without a decoder."""
        return self.subtype == "PCM_16" and self.endian == "LITTLE"


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of samples: from where (offset), how many (size), and how the header differs from that."""

    offset: int
    size: int
    cut: str = ""  # why the file is taken for a copy that broke off; empty: it is whole
    lie: str = ""  # what the header says, where its size is no size
    unread: int = 0  # bytes behind the samples that nothing accounts for
    form: Form | None = None  # where the container is understood that far
    patch: tuple[int, bytes] | None = None  # what a decoder must see at which place: of the file up to there


def measured(
    offset: int,
    declared: int,
    size: int,
    form: Form | None = None,
    *,
    bits: int = 32,
    whole: bool = False,
    stale: bool = False,
) -> Extent:
    """The extent of samples in a file of `size` bytes.

    whole: the header's size of the whole file fits the file. stale: it counts bytes that belong to no chunk, as where
    a recorder brought it up to date and not that of the samples.
    """
    there = max(size - offset, 0)
    says = f"its header says {declared} bytes of samples, {there} are there"
    if there and (stale or (declared > there and whole) or _is_placeholder(declared, there, bits)):
        frame_bytes = max(form.frame_bytes if form else 1, 1)
        return Extent(offset, there - there % frame_bytes, lie=says, form=form)
    more = (there - declared) // WRAP * WRAP
    if bits == 32 and more > 0 and there - declared - more <= TAIL:
        return Extent(offset, declared + more, lie=says, form=form)
    if declared > there:
        return Extent(offset, there, cut=says, form=form)
    return Extent(offset, declared, form=form)


def _is_placeholder(declared: int, there: int, bits: int) -> bool:
    if 0 < declared <= there:
        return False
    near = any(abs(declared - number) <= AROUND for number in PLACEHOLDERS)
    if not near and bits == 32 and there * FEW < declared:
        near = any(0 <= number - declared <= BELOW for number in PLACEHOLDERS[1:])
    return declared == 0 or near or (bits == 64 and declared > MAX_OF_64)


def chunks(
    descriptor: int, position: int, size: int, *, head: int = 8, big: bool = False, align: int = 2
) -> Iterator[tuple[bytes, int, int]]:
    """(tag, where its content begins, length of this) of a file's chunks, until one begins behind the end of the file.

    head: bytes of tag and length together; lengths have 8 bytes in heads of 12 (CAF) and 24 (W64, which counts the
    head). Where an odd chunk was not filled up, as some writers do, the next one is found right behind it.
    """
    width = 4 if head == 8 else 8
    for _ in range(MAX_CHUNKS):
        if position + head > size:
            return
        raw = os.pread(descriptor, head, position)
        length = int.from_bytes(raw[-width:], "big" if big else "little") - (head if head == 24 else 0)
        yield raw[:-width], position + head, length
        position += head + max(length, 0)
        odd = max(length, 0) % align
        if odd and not (align == 2 and os.pread(descriptor, 4, position) in UNPADDED):
            position += align - odd


def among_chunks(
    descriptor: int, begin: int, declared: int, size: int, form: Form | None, *, bits: int = 32, said: int, big: bool
) -> Extent:
    """As `measured`, of RIFF and IFF; said: how many bytes follow the first eight, by the header.

    No samples, or some that other bytes follow, are so if what follows are chunks. Samples without a true size end
    where such chunks as LIST begin, else with the file.
    """
    unread = _unaccounted(descriptor, begin + declared + declared % 2, size, big)
    second = os.pread(descriptor, 4, size - unread) in SAMPLES
    if declared == 0 and (unread == 0 or second):
        return Extent(begin, 0, form=form)
    if unread > MAX_UNREAD and said in (size - 8, size - 9) and not second:
        return measured(begin, declared, size, form, stale=True)
    extent = measured(begin, declared, size, form, bits=bits, whole=0 < said <= size - 8)
    if not extent.lie:
        return replace(extent, unread=unread)
    return measured(begin, declared, _end_of_samples(descriptor, begin, size, big), form, bits=bits, whole=True)


def _end_of_samples(descriptor: int, begin: int, size: int, big: bool) -> int:
    """Where the chunks begin that a writer without true sizes put behind its samples; `size` where there are none.

    They are told from sound by reaching exactly to the end of the file.
    """
    first = max(begin, size - TAIL)
    raw, end = os.pread(descriptor, size - first, first), size - first
    for found in reversed(list(re.finditer(BEHIND, raw))):
        at, length = found.start(), int.from_bytes(raw[found.end() : found.end() + 4], "big" if big else "little")
        if at + 8 + length in (end, end - 1):  # an odd one may be filled up
            end = at
    return first + end


def _unaccounted(descriptor: int, position: int, size: int, big: bool) -> int:
    """Bytes from `position` to the end of a RIFF or IFF file, from what is no chunk or a second one of samples on."""
    for tag, begin, length in chunks(descriptor, position, size, big=big):
        if tag in SAMPLES or not all(32 <= byte < 127 for byte in tag) or begin + length > size + 1:
            return size - begin + 8
        position = begin + length
    return 0
