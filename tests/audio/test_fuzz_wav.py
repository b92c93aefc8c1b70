"""Recordings with random damage: what libsndfile hears, or BadFileError; never anything else."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from asd.audio.header import BadFileError, Header, read_header
from asd.audio.recording import Target, check_rate, read_pcm16
from asd.audio.wav import canonical_header
from tests.support.fuzz import bounded, mutated

FORMATS = [("WAV", s) for s in ("PCM_16", "PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")]
FORMATS += [("WAVEX", "PCM_16"), ("FLAC", "PCM_16"), ("AIFF", "PCM_16"), ("W64", "PCM_16"), ("OGG", "VORBIS")]


@st.composite
def recordings(draw: st.DrawFn) -> bytes:
    """A sound file of up to 300 samples."""
    kind, subtype = draw(st.sampled_from([("WAV", "PCM_16"), *FORMATS]))
    channels, frames = draw(st.integers(1, 3)), draw(st.integers(1, 300))
    sound = np.random.default_rng(draw(st.integers(0, 9))).uniform(-1.1, 1.1, (frames, channels)).clip(-1, 1)
    out = io.BytesIO()
    soundfile.write(out, sound, draw(st.sampled_from([8_000, 16_000, 44_100])), subtype, format=kind)
    return out.getvalue()


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    """A RIFF file of chunks in any order and number, some of which lie about their length."""
    chunks = []
    for tag in draw(st.lists(st.sampled_from([b"fmt ", b"data", b"LIST", b"fact", b"JUNK", b"\0\0\0\0"]), max_size=6)):
        if tag == b"fmt ":
            code, channels, bits = (
                draw(st.sampled_from([1, 3, 0xFFFE])),
                draw(st.integers(0, 3)),
                draw(st.sampled_from([8, 16, 24])),
            )
            frame = draw(st.sampled_from([channels * bits // 8, 0, 1, 65_535]))
            body = struct.pack(
                "<HHIIHH", code, channels, draw(st.sampled_from([0, 16_000, 2**32 - 1])), 32_000, frame, bits
            )
            body += draw(st.sampled_from([b"", b"\0\0", bytes(24)]))
        else:
            body = draw(st.binary(max_size=60))
        length = draw(st.sampled_from([len(body), len(body), len(body), len(body) + 1, 0, 0xFFFFFFFF]))
        chunks.append(tag + struct.pack("<I", length) + body + b"\0" * (len(body) & 1))
    content = b"".join(chunks)
    return b"RIFF" + struct.pack("<I", draw(st.sampled_from([len(content) + 4, 0, 0xFFFFFFFF]))) + b"WAVE" + content


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "a.wav"


def heard(path: Path, header: Header) -> np.ndarray:
    """(N, K) int16 as an independent reading has them.

    libsndfile gives up at a chunk of a strange name, behind which the samples can be found all the same.
    """
    try:
        sound, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError:
        content, begin = path.read_bytes(), header.data_offset
        assert content[begin - 8 : begin - 4] == b"data"
        samples = np.frombuffer(content[begin : begin + 2 * header.frames * header.channels], "<i2")
        return samples.reshape(header.frames, header.channels)
    assert (rate, sound.shape) == (header.rate, (header.frames, header.channels))
    return np.rint(sound * 32_768).clip(-32_768, 32_767)


def look(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        header = read_header(path)
        target = Target(header.rate, channel=0)
        check_rate(header, Target(16_000))
        samples, _ = read_pcm16(path, header, target)
    except BadFileError as error:
        assert error.detail
        return
    assert samples.shape == (header.frames,)
    assert np.abs(heard(path, header)[:, 0] - samples).max() <= (0 if header.subtype.startswith("PCM_16") else 1)


@bounded(300)
@given(content=mutated(recordings(), first=64))
@example(content=canonical_header(4, 16_000) + bytes(4))
def test_damaged_recordings(path: Path, content: bytes) -> None:
    look(path, content)


@bounded(300)
@given(content=chunked())
def test_chunks_of_any_kind(path: Path, content: bytes) -> None:
    look(path, content)
