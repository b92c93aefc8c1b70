"""Headers that are not true, of containers other than WAV, and sizes near the largest; see test_false_headers.py."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.audio.header import BadFileError, read_header
from tests.audio.test_false_headers import PLACEHOLDERS, RATE, SOUND, heard, put, refusal, sound_file


@pytest.mark.parametrize("size", [0xFFFF0000, 0xFFF00000, 0x7F800000, 2**31 - 9000])
def test_a_size_near_the_largest_over_few_samples_is_none(tmp_path: Path, size: int) -> None:
    whole = put(put(sound_file("WAV"), 4, "<I", size + 36), 40, "<I", size)
    header, samples = heard(tmp_path / "a.wav", whole)
    np.testing.assert_array_equal(samples, SOUND)
    assert header.lie == f"its header says {size} bytes of samples, 32000 are there"
    with (tmp_path / "a.wav").open("r+b") as file:
        file.truncate(size // 2)  # as a copy does that broke off; a hole but for its beginning
    with pytest.raises(BadFileError, match=f"its header says {size} bytes of samples, {size // 2 - 44} are there"):
        read_header(tmp_path / "a.wav")


NOTED = struct.pack(">4sI", b"ANNO", 6) + b"hello!" + struct.pack(">4sI", b"(c) ", 3) + b"me.\0"


@pytest.mark.parametrize("size", PLACEHOLDERS)
@pytest.mark.parametrize(("form", "subtype"), [("AIFF", "PCM_16"), ("AIFF", "PCM_24"), ("SVX", "PCM_16")])
def test_iff_chunks_behind_samples_without_a_size_are_no_sound(
    tmp_path: Path, form: str, subtype: str, size: int
) -> None:
    content = sound_file(form, subtype)
    at = content.index(b"BODY" if form == "SVX" else b"SSND") + 4
    header, samples = heard(tmp_path / "a", put(content, at, ">I", size) + NOTED)
    np.testing.assert_array_equal(samples, SOUND)
    assert header.lie


def test_an_aiff_size_that_was_not_brought_up_to_date(tmp_path: Path) -> None:
    content = sound_file("AIFF")
    header, samples = heard(tmp_path / "a.aiff", put(content, content.index(b"SSND") + 4, ">I", 1_008))
    assert (len(samples), header.lie) == (16_000, "its header says 1000 bytes of samples, 32000 are there")


W64_CHUNK = b"levels of Sony's" + struct.pack("<Q", 32) + bytes(8)
BEHIND = [("SVX", "PCM_16", NOTED), ("W64", "PCM_24", W64_CHUNK)]
BEHIND += [(form, "PCM_16", b"\xff" * 5000) for form in ("AU", "NIST", "AVR", "HTK")] + [
    ("WVE", "ALAW", b"\xff" * 5000)
]


@pytest.mark.parametrize(("form", "subtype", "behind"), BEHIND, ids=[form for form, *_ in BEHIND])
def test_what_lies_behind_the_samples_of_other_containers_is_no_sound(
    tmp_path: Path, form: str, subtype: str, behind: bytes
) -> None:
    soundfile.write(tmp_path / "whole", SOUND, 8_000 if form == "WVE" else RATE, subtype, format=form)
    whole = (tmp_path / "whole").read_bytes()
    _, expected = heard(tmp_path / "a", whole)
    header, samples = heard(tmp_path / "a", whole + behind)
    np.testing.assert_array_equal(samples, expected)
    assert (header.lie, header.unread) == ("", "5000 bytes behind its samples" if len(behind) == 5000 else "")


@pytest.mark.parametrize("form", ["WAV", "RF64", "SVX"])
def test_files_that_were_joined_are_said(tmp_path: Path, form: str) -> None:
    content = bytes(sound_file(form))
    header, samples = heard(tmp_path / "a", content + content)
    np.testing.assert_array_equal(samples, SOUND)
    assert header.unread == f"{len(content)} bytes behind its samples"


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF])
def test_htk_without_a_size_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    header, samples = heard(tmp_path / "a.htk", put(sound_file("HTK"), 0, ">I", size))
    np.testing.assert_array_equal(samples, SOUND)
    assert header.lie == f"its header says {2 * size} bytes of samples, 32000 are there"


@pytest.mark.parametrize(("form", "subtype", "at"), [("HTK", "PCM_16", None), ("XI", "DPCM_16", 298)])
def test_cut_files_that_libsndfile_takes_for_others_or_for_whole(
    tmp_path: Path, form: str, subtype: str, at: int | None
) -> None:
    content = sound_file(form, subtype)
    if at is not None:  # libsndfile writes no length
        put(content, at, "<I", 32_000)
    assert heard(tmp_path / "a", content)[0].lie == ""
    said = ("truncated", "its header says 32000 bytes of samples, 22000 are there")
    assert refusal(tmp_path / "a", content[:-10_000]) == said
