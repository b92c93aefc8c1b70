"""Headers that are not true: of pipes and recorders, of sizes beyond 32 bits, of copies that broke off."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.audio.header import BadFileError, Header, read_header
from asd.audio.recording import Part, Target, read_pcm16
from asd.audio.wav import canonical_header
from asd.audio.windows import open_recording
from shards import cut, pack

RATE = 16_000
SOUND = np.random.default_rng(0).integers(-9000, 9000, 16_000, dtype=np.int16)
PLACEHOLDERS = [0, 0x7F000000, 0x7FFFEFFF, 0x7FFFF000, 0x7FFFF024, 0x7FFFFF00, 0x7FFFFFFF, 0x80000000, 0x80000024]
PLACEHOLDERS += [0xFFFFF000, 0xFFFFFFDB, 0xFFFFFFFE, 0xFFFFFFFF]


def sound_file(form: str, subtype: str = "PCM_16", sound: np.ndarray = SOUND) -> bytearray:
    file = io.BytesIO()
    scaled = sound if subtype.startswith("PCM_") else sound / 32768
    soundfile.write(file, scaled, RATE, subtype, format=form)
    return bytearray(file.getvalue())


def heard(path: Path, content: bytes) -> tuple[Header, np.ndarray]:
    path.write_bytes(content)
    header = read_header(path)
    return header, read_pcm16(path, header, Target(RATE))[0]


def refusal(path: Path, content: bytes) -> tuple[str, str]:
    with pytest.raises(BadFileError) as caught:
        heard(path, content)
    return caught.value.kind, caught.value.detail


def put(content: bytearray, at: int, form: str, *numbers: int) -> bytearray:
    struct.pack_into(form, content, at, *numbers)
    return content


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE", "ULAW"])
@pytest.mark.parametrize("size", PLACEHOLDERS)
def test_a_wav_without_a_size_is_read_to_its_end(tmp_path: Path, size: int, subtype: str) -> None:
    whole = sound_file("WAV", subtype)
    _, expected = heard(tmp_path / "a.wav", whole)
    data = whole.index(b"data") + 4
    header, samples = heard(tmp_path / "a.wav", put(put(whole, 4, "<I", size), data, "<I", size))
    np.testing.assert_array_equal(samples, expected)
    assert header.lie == f"its header says {size} bytes of samples, {len(whole) - data - 4} are there"
    later, _ = read_pcm16(tmp_path / "a.wav", header, Target(RATE), Part(15_000, 500))
    np.testing.assert_array_equal(later, expected[15_000:15_500])


def test_a_size_that_exceeds_a_file_which_the_header_calls_whole(tmp_path: Path) -> None:
    header, samples = heard(tmp_path / "a.wav", put(sound_file("WAV"), 40, "<I", 123_456))
    assert (len(samples), header.lie) == (16_000, "its header says 123456 bytes of samples, 32000 are there")


def test_a_size_that_was_not_brought_up_to_date(tmp_path: Path) -> None:
    header, samples = heard(tmp_path / "a.wav", put(sound_file("WAV"), 40, "<I", 1_000))
    assert (len(samples), header.lie) == (16_000, "its header says 1000 bytes of samples, 32000 are there")


@pytest.mark.parametrize("size", PLACEHOLDERS)
@pytest.mark.parametrize("form", ["AIFF", "AU"])
def test_aiff_and_au_without_a_size(tmp_path: Path, form: str, size: int) -> None:
    content = sound_file(form)
    at = content.index(b"SSND") + 4 if form == "AIFF" else 8
    header, samples = heard(tmp_path / "a", put(content, at, ">I", size))
    np.testing.assert_array_equal(samples, SOUND)
    assert header.lie


@pytest.mark.parametrize("size", [0, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("form", ["RF64", "W64", "CAF"])
def test_64_bit_containers_without_a_size(tmp_path: Path, form: str, size: int) -> None:
    content = sound_file(form)
    if form == "RF64":
        put(content, content.index(b"ds64") + 8, "<QQ", size, size)
    elif form == "W64":
        put(put(content, 16, "<Q", size), content.index(b"data") + 16, "<Q", size)
    else:
        put(content, content.index(b"data") + 4, ">Q", size)
    header, samples = heard(tmp_path / "a", content)
    np.testing.assert_array_equal(samples, SOUND)
    assert header.lie


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("AIFF", "PCM_16"), ("AIFF", "PCM_24"), ("AU", "FLOAT")]
)
def test_a_size_that_went_round_at_32_bits(tmp_path: Path, form: str, subtype: str) -> None:
    """4 GiB and 3 s, of which the header tells the 3 s; the file is a hole but for its end."""
    head, width = sound_file(form, subtype), {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}[subtype]
    begin = len(head) - 16_000 * width
    true = (2**32 // width + 3 * RATE) * width
    if form == "AU":
        put(head, 8, ">I", true % 2**32)
    else:
        at, order, more = (begin - 4, "<I", 0) if form == "WAV" else (begin - 12, ">I", 8)
        put(put(head, at, order, (true + more) % 2**32), 4, order, (true + begin - 8) % 2**32)
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.write(head[:begin])
        file.seek(begin + true - len(head[begin:]))
        file.write(head[begin:])
    header = read_header(path)
    assert (header.frames, header.rate) == (true // width, RATE)
    assert header.lie == f"its header says {true % 2**32} bytes of samples, {true} are there"
    recording = open_recording(path, Target(RATE))
    assert recording.seconds == pytest.approx(header.frames / RATE)
    last, _ = read_pcm16(path, header, Target(RATE), Part(header.frames - 16_000, 16_000))
    np.testing.assert_array_equal(last, SOUND)


CUT = [("WAV", s) for s in ("PCM_16", "PCM_24", "FLOAT", "IMA_ADPCM")]
CUT += [(form, "PCM_16") for form in ("WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "SVX", "VOC", "AVR", "FLAC")]
CUT += [("WVE", "ALAW"), ("CAF", "ALAC_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
@pytest.mark.parametrize(("form", "subtype"), CUT)
def test_copies_that_broke_off_are_refused(tmp_path: Path, form: str, subtype: str, share: float) -> None:
    rate = 8_000 if form == "WVE" else RATE
    soundfile.write(tmp_path / "whole", SOUND, rate, subtype, format=form)
    whole = (tmp_path / "whole").read_bytes()
    header, _ = heard(tmp_path / "a", whole)
    assert (header.lie, header.unread) == ("", "")
    assert refusal(tmp_path / "a", whole[: round(len(whole) * share)])[0] in ("truncated", "unreadable")


def test_chunks_that_are_not_filled_up_and_no_samples_at_all(tmp_path: Path) -> None:
    odd = struct.pack("<4sI", b"LIST", 5) + b"12345"
    plain = bytes(sound_file("WAV"))
    _, samples = heard(tmp_path / "a.wav", plain[:36] + odd + plain[36:])
    np.testing.assert_array_equal(samples, SOUND)
    listed = odd + b"\0"
    assert refusal(tmp_path / "a.wav", canonical_header(0, RATE) + listed) == ("zero-length", "it holds no samples")
    header, samples = heard(tmp_path / "a.wav", canonical_header(31_999, RATE) + plain[44:-1] + b"\0" + listed)
    assert (len(samples), header.lie, header.unread) == (15_999, "", "")


def test_big_endian_waves_with_chunks_behind_their_samples(tmp_path: Path) -> None:
    form = struct.pack(">4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    listed = struct.pack(">4sI", b"LIST", 6000) + bytes(6000)
    body = b"WAVE" + form + struct.pack(">4sI", b"data", 32_000) + SOUND.astype(">i2").tobytes() + listed
    header, samples = heard(tmp_path / "a.wav", b"RIFX" + struct.pack(">I", len(body)) + body)
    np.testing.assert_array_equal(samples, SOUND)
    assert (header.lie, header.unread) == ("", "")


def test_what_lies_behind_the_samples_is_said(tmp_path: Path) -> None:
    header, samples = heard(tmp_path / "a.wav", canonical_header(2_000, RATE) + SOUND.tobytes())
    assert (len(samples), header.unread) == (1_000, "30000 bytes behind its samples")


LISTED = struct.pack("<4sI", b"LIST", 26) + b"INFOISFT\x0e\0\0\0Lavf58.29.100\0"
TAGGED = struct.pack("<4sI", b"id3 ", 11) + b"x" * 11


@pytest.mark.parametrize("behind", [LISTED, LISTED + TAGGED, LISTED + TAGGED + b"\0"], ids=("one", "odd", "even"))
def test_chunks_behind_samples_without_a_size_are_no_sound(tmp_path: Path, behind: bytes) -> None:
    long = sound_file("RF64")
    put(long, long.index(b"ds64") + 8, "<QQ", 0, 0)
    for content in [put(put(sound_file("WAV"), 4, "<I", size), 40, "<I", size) for size in PLACEHOLDERS] + [long]:
        header, samples = heard(tmp_path / "a.wav", content + behind)
        np.testing.assert_array_equal(samples, SOUND)
        assert header.lie.endswith("32000 are there")


@pytest.mark.parametrize("between", [b"", LISTED], ids=("behind the first", "behind another"))
def test_a_second_chunk_of_samples_is_said_and_not_taken_for_the_first(tmp_path: Path, between: bytes) -> None:
    plain = sound_file("WAV")
    second = struct.pack("<4sI", b"data", 32_000) + SOUND.tobytes()
    put(plain, 4, "<I", len(plain) - 8 + len(between + second))
    header, samples = heard(tmp_path / "a.wav", plain + between + second)
    np.testing.assert_array_equal(samples, SOUND)
    assert (header.lie, header.unread) == ("", "32008 bytes behind its samples")
    empty = plain[:36] + struct.pack("<4sI", b"data", 0) + between + second
    assert refusal(tmp_path / "a.wav", empty) == ("zero-length", "it holds no samples")


@pytest.mark.parametrize("extensible", [False, True])
def test_samples_of_24_bits_in_four_bytes(tmp_path: Path, extensible: bool) -> None:
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else 1, 2, RATE, 8 * RATE, 8, 24)
    if extensible:
        form += struct.pack("<HHIH", 22, 24, 3, 1) + bytes.fromhex("000000001000800000aa00389b71")
    body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(form)) + form + struct.pack("<4sI", b"data", 128_000)
    body += np.repeat(SOUND.astype("<i4") << 16, 2).tobytes()
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    header = read_header(path)
    assert (header.frames, header.channels, header.subtype, header.lie) == (16_000, 2, "PCM_32", "")
    for channel in (0, 1):
        np.testing.assert_array_equal(read_pcm16(path, header, Target(RATE, channel))[0], SOUND)
    assert refusal(path, path.read_bytes()[:-60_000])[0] == "truncated"


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_files_that_were_joined_are_not_taken_for_the_first_of_them(tmp_path: Path, subtype: str) -> None:
    first, second = (bytes(sound_file("OGG", subtype)) for _ in range(2))
    assert first[14:18] != second[14:18]  # serial numbers of their streams
    for joined in (first + second, first + first, first + second + first):
        kind, detail = refusal(tmp_path / "a.ogg", joined)
        assert (kind, "several streams" in detail) == ("truncated", True)


def test_a_compressed_wav_of_unknown_length_names_the_way_on(tmp_path: Path) -> None:
    content = sound_file("WAV", "IMA_ADPCM")
    put(put(content, content.index(b"data") + 4, "<I", 0), 4, "<I", 0)
    kind, detail = refusal(tmp_path / "b.wav", content)
    assert (kind, "does not give the number of samples" in detail) == ("unreadable", True)
    assert f"ffmpeg -i {tmp_path / 'b.wav'} " in detail


def lengthless(sound: np.ndarray, subtype: str = "PCM_16") -> bytearray:
    content = sound_file("FLAC", subtype, sound)
    content[21] &= 0xF0
    return put(content, 22, ">I", 0)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("samples", [1, 4095, 4096, 4097, 16_000, 700_000])
def test_a_flac_stream_of_unknown_length_is_read_to_its_last_frame(tmp_path: Path, samples: int, subtype: str) -> None:
    sound = np.random.default_rng(samples).integers(-9000, 9000, samples, dtype=np.int16)
    header, heard_samples = heard(tmp_path / "a.flac", lengthless(sound, subtype))
    np.testing.assert_array_equal(heard_samples, sound)
    assert header.lie == f"its header tells no length, its last frame ends with sample {samples}"
    end, _ = read_pcm16(tmp_path / "a.flac", header, Target(RATE), Part(samples // 2, samples - samples // 2))
    np.testing.assert_array_equal(end, sound[samples // 2 :])


@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125)], ids=("alone", "tags"))
@pytest.mark.parametrize("says", [1, 100, 15_999])
def test_a_flac_stream_that_is_longer_than_its_header_says(tmp_path: Path, says: int, behind: bytes) -> None:
    content = put(lengthless(SOUND), 22, ">I", says)
    header, samples = heard(tmp_path / "a.flac", content + behind)
    np.testing.assert_array_equal(samples, SOUND)
    assert header.lie == f"its header says {says} samples, its last frame ends with sample 16000"
    header, samples = heard(tmp_path / "a.flac", sound_file("FLAC") + behind)
    assert (len(samples), header.lie) == (16_000, "")


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_flac_stream_of_unknown_length_that_broke_off_is_refused(tmp_path: Path, share: float) -> None:
    content = lengthless(SOUND)
    said = ("truncated", "its header tells no length, and its last frame is not whole")
    assert refusal(tmp_path / "a.flac", content[: round(len(content) * share)]) == said


def test_packing_and_cutting_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        content = put(put(sound_file("WAV"), 4, "<I", 0), 40, "<I", 0)
        (tmp_path / f"{number}.wav").write_bytes(content)
    rows = "".join(f"{number}.wav,fan,00,train,normal\n" for number in range(2))
    table = tmp_path / "t.csv"
    table.write_text(f"path,machine_type,machine_id,split,label\n{rows}")
    assert pack.main(["--layout", "table", "--source", str(table), "--out", str(tmp_path / "set")]) == 0
    said = "warning: 2 recordings have a wrong size in their header and are read whole, first: "
    said += f"{tmp_path / '0.wav'}: its header says 0 bytes of samples, 32000 are there"
    assert said in capsys.readouterr().out
    assert cut.main(["--source", str(table), "--seconds", "0.5", "--out", str(tmp_path / "cut")]) == 0
    assert len(list((tmp_path / "cut").glob("*.wav"))) == 4
    assert said in capsys.readouterr().out
