"""Position and number of samples by the headers of containers other than WAV (see extent.py).

libsndfile reads as much as is there and does not say that more was promised.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable
from dataclasses import replace

from asd.audio.extent import Extent, Form, among_chunks, chunks, measured
from asd.audio.flac import read_flac_extent
from asd.audio.wav import Order, read_wav_extent

W64_MAGIC, W64_DATA = (
    bytes.fromhex("726966662e91cf11a5d628db04c10000"),
    bytes.fromhex("64617461f3acd3118cd100c04f8edb8a"),
)
AU_SUBTYPES = {1: "ULAW", 2: "PCM_S8", 3: "PCM_16", 4: "PCM_24", 5: "PCM_32", 6: "FLOAT", 7: "DOUBLE", 27: "ALAW"}
AU_BITS = {1: 8, 2: 8, 3: 16, 4: 24, 5: 32, 6: 32, 7: 64, 27: 8}
AIFC_SUBTYPES = {  # b"": plain AIFF
    b"": ("PCM", "BIG"), b"NONE": ("PCM", "BIG"), b"twos": ("PCM", "BIG"), b"sowt": ("PCM", "LITTLE"),
    b"fl32": ("FLOAT", "BIG"), b"FL32": ("FLOAT", "BIG"), b"fl64": ("DOUBLE", "BIG"),
}  # fmt: skip
CAF_SUBTYPES = {  # (is float, bits)
    (0, 8): "PCM_S8", (0, 16): "PCM_16", (0, 24): "PCM_24", (0, 32): "PCM_32", (1, 32): "FLOAT", (1, 64): "DOUBLE",
}  # fmt: skip
HTK_WAVEFORM = b"\0\2\0\0"  # samples of two bytes, of kind 0; all by which such a file is known
PAGE, MAX_PAGE, BEGIN_OF_STREAM, END_OF_STREAM = 27, 65307, 2, 4


def read_extent(descriptor: int, size: int) -> Extent | None:
    """The extent of an open file's samples; None where its container tells no size, or is not known here."""
    magic = os.pread(descriptor, 21, 0)
    read = next((read for begin, read in READERS.items() if magic.startswith(begin)), None)
    read = _htk if read is None and magic[8:12] == HTK_WAVEFORM else read
    if read is None:
        return None
    try:
        return read(descriptor, size)
    except struct.error:  # it ends within its header, as the decoder will say
        return None


def _alone(extent: Extent, size: int) -> Extent:
    """For decoders that would hear, too, what lies behind the samples: they see the file up to there."""
    end = extent.offset + extent.size
    if extent.lie or extent.cut or end >= size:
        return extent
    return Extent(0, end, unread=size - end, patch=(0, b""))


def _w64(descriptor: int, size: int) -> Extent | None:
    whole = 0 < int.from_bytes(os.pread(descriptor, 8, 16), "little") <= size
    for tag, begin, length in chunks(descriptor, 40, size, head=24, align=8):
        if tag == W64_DATA:
            extent = _alone(measured(begin, max(length, 0), size, bits=64, whole=whole), size)
            return replace(extent, unread=0)  # chunks, as a rule
    return None


def _iff(descriptor: int, size: int) -> Extent | None:
    """AIFF, AIFC and Amiga's IFF."""
    said = int.from_bytes(os.pread(descriptor, 4, 4), "big")
    form: Form | None = None
    for tag, begin, length in chunks(descriptor, 12, size, big=True):
        if tag == b"COMM":
            form = _aiff_form(os.pread(descriptor, min(length, 22), begin))
        elif tag == b"SSND":
            skipped = 8 + int.from_bytes(os.pread(descriptor, 4, begin), "big")
            declared = max(length - skipped, 0)
            return among_chunks(descriptor, begin + skipped, declared, size, form, said=said, big=True)
        elif tag == b"BODY":
            extent = among_chunks(descriptor, begin, length, size, None, said=said, big=True)
            if extent.cut or extent.size >= 1 << 32:
                return extent
            patch = (begin - 4, extent.size.to_bytes(4, "big"))  # a decoder would hear the chunks behind
            return replace(extent, offset=0, size=begin + extent.size, patch=patch)
    return None


def _aiff_form(chunk: bytes) -> Form:
    """The rate is a float of 80 bits: sign and exponent, then 64 bits of which the first is the whole 1."""
    channels, _, bits, exponent, mantissa = struct.unpack(">HIHHQ", chunk[:18])
    subtype, order = AIFC_SUBTYPES.get(chunk[18:22], ("", "BIG"))
    subtype = f"PCM_{'S8' if bits == 8 else bits}" if subtype == "PCM" and bits in (8, 16, 24, 32) else subtype
    rate = round(math.ldexp(mantissa, (exponent & 0x7FFF) - 16383 - 63))
    return Form("" if subtype == "PCM" else subtype, order, rate, channels, channels * -(-bits // 8))


def _au(descriptor: int, size: int) -> Extent | None:
    raw = os.pread(descriptor, 24, 0)
    order: Order = "big" if raw[:4] == b".snd" else "little"
    offset, declared, code, rate, channels = struct.unpack((">" if order == "big" else "<") + "5I", raw[4:])
    form = Form(AU_SUBTYPES.get(code, ""), order.upper(), rate, channels, channels * AU_BITS.get(code, 0) // 8)
    return _alone(measured(offset, declared, size, form), size)


def _caf(descriptor: int, size: int) -> Extent | None:
    form: Form | None = None
    for tag, begin, length in chunks(descriptor, 8, size, head=12, big=True, align=1):
        if tag == b"desc" and length >= 32:
            rate, name, flags, packet, _, channels, bits = struct.unpack(">d4s5I", os.pread(descriptor, 32, begin))
            subtype = CAF_SUBTYPES.get((flags & 1, bits), "") if name == b"lpcm" else ""
            form = Form(subtype, "LITTLE" if flags & 2 else "BIG", round(rate), channels, packet)
        elif tag == b"data":
            return measured(begin + 4, max(length - 4, 0), size, form, bits=64)
    return None


def _nist(descriptor: int, size: int) -> Extent | None:
    text = os.pread(descriptor, 1024, 0).decode("ascii", "replace")
    found = dict(re.findall(r"^(\w+) -\S+ (\S+)", text, re.MULTILINE))
    try:
        sample_bytes = int(found["channel_count"]) * int(found["sample_n_bytes"])
        offset, count = int(text.split()[1]), int(found["sample_count"])
    except (KeyError, ValueError, IndexError):
        return None
    packed = found.get("sample_coding", "pcm") not in ("pcm", "ulaw", "mu-law", "alaw")
    return None if packed else _alone(measured(offset, count * sample_bytes, size), size)


def _voc(descriptor: int, size: int) -> Extent | None:
    """The first block, which is the only one in nearly all files."""
    (offset,) = struct.unpack("<H", os.pread(descriptor, 2, 20))
    return measured(offset + 4, int.from_bytes(os.pread(descriptor, 4, offset)[1:], "little"), size)


def _avr(descriptor: int, size: int) -> Extent | None:
    stereo, bits = struct.unpack(">HH", os.pread(descriptor, 4, 12))
    frames = int.from_bytes(os.pread(descriptor, 4, 26), "big")
    return _alone(measured(128, frames * (2 if stereo else 1) * bits // 8, size), size)


def _wve(descriptor: int, size: int) -> Extent | None:
    return _alone(measured(32, int.from_bytes(os.pread(descriptor, 4, 18), "big"), size), size)


def _htk(descriptor: int, size: int) -> Extent | None:
    count, period, _, _ = struct.unpack(">IIHH", os.pread(descriptor, 12, 0))  # the period in units of 100 ns
    if not 0 < period <= 10_000_000 or count >= 1 << 31:
        return None
    return _alone(measured(12, count * 2, size, Form("PCM_16", "BIG", 10_000_000 // period, 1, 2)), size)


def _xi(descriptor: int, size: int) -> Extent | None:
    """Some writers leave no length."""
    (count,) = struct.unpack("<H", os.pread(descriptor, 2, 296))
    lengths = struct.iter_unpack("<I36x", os.pread(descriptor, 40 * count, 298))
    declared = sum(length for (length,) in lengths)
    return _alone(measured(298 + 40 * count, declared, size), size) if declared else None


def _ogg(descriptor: int, size: int) -> Extent:
    """Whole is a stream whose last page is whole and says that it is the last."""
    begin = max(0, size - MAX_PAGE - PAGE)
    raw = os.pread(descriptor, size - begin, begin)
    page = raw[max(raw.rfind(b"OggS\0"), 0) :]
    lengths = page[PAGE : PAGE + page[PAGE - 1]] if len(page) >= PAGE else b""
    is_last = len(page) >= PAGE + len(lengths) + sum(lengths) and bool(page[5] & END_OF_STREAM)
    if not is_last:
        return Extent(0, size, cut="it ends before the last page of its stream")
    joined = page[14:18] != os.pread(descriptor, 4, 14) or _begins_again(descriptor)  # as by cat; [14:18]: its serial
    return Extent(0, size, cut="it holds several streams, of which the first alone would be heard" if joined else "")


def _begins_again(descriptor: int) -> bool:
    """Whether a stream begins behind the samples of another: also encoders that number all their streams alike."""
    at, begun = 0, False
    while len(page := os.pread(descriptor, PAGE + 255, at)) >= PAGE and page.startswith(b"OggS\0"):
        if begun and page[5] & BEGIN_OF_STREAM:
            return True
        begun = begun or not page[5] & BEGIN_OF_STREAM
        at += PAGE + page[PAGE - 1] + sum(page[PAGE : PAGE + page[PAGE - 1]])
    return False


READERS: dict[bytes, Callable[[int, int], Extent | None]] = {
    **dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), read_wav_extent),
    W64_MAGIC: _w64,
    b"FORM": _iff,
    **dict.fromkeys((b".snd", b"dns."), _au),
    b"caff": _caf,
    b"NIST_1A": _nist,
    b"Creative Voice F": _voc,
    b"2BIT": _avr,
    b"ALawSoundFile**": _wve,
    b"Extended Instrument: ": _xi,
    b"OggS": _ogg,
    b"fLaC": read_flac_extent,
}
