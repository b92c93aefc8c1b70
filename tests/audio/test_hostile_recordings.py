"""Recordings whose headers promise more than they hold: refused in one line, in little memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.audio.header import BadFileError, read_header
from asd.audio.recording import Target, check_rate
from asd.audio.wav import canonical_header
from asd.audio.windows import open_recording
from tests.support.hostile import command


def bad(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadFileError) as caught:
        read_header(path)
    return caught.value.detail


def test_a_wav_that_promises_four_gigabytes_is_cut_short(tmp_path: Path) -> None:
    header = canonical_header(0xF0000000, 16_000)
    assert "its header says 4026531840 bytes of samples, 100 are there" in bad(tmp_path / "a.wav", header + bytes(100))


def test_a_wav_of_nothing_but_chunks_is_given_up_soon(tmp_path: Path) -> None:
    """A gigabyte of them, which takes no room on disk: 130 million reads."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + bytes(4) + b"WAVE")
    os.truncate(path, 1 << 30)
    assert "the audio header cannot be read" in bad(path)


def test_a_flac_that_promises_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(1000, np.int16), 16_000)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # STREAMINFO's total of samples, 36 bits
    content[22:26] = b"\xff" * 4
    assert f"its header says {2**36 - 1} samples, more than its size allows" in bad(path, bytes(content))


@pytest.mark.parametrize("rate", [1, 15, 999_983, 2**31 - 1])
def test_a_rate_that_would_take_all_memory_is_refused(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(canonical_header(20_000, rate) + bytes(20_000))
    with pytest.raises(BadFileError, match=f"its sample rate, {rate} Hz, cannot be resampled to 16000 Hz"):
        open_recording(path, Target(16_000))


@pytest.mark.parametrize(
    "rate", [8_000, 11_025, 22_050, 32_000, 41_667, 44_100, 44_101, 48_000, 48_828, 96_000, 192_000, 250_000, 384_000]
)
def test_rates_of_real_recordings_are_taken(tmp_path: Path, rate: int) -> None:
    (tmp_path / "a.wav").write_bytes(canonical_header(200, rate) + bytes(200))
    check_rate(read_header(tmp_path / "a.wav"), Target(16_000))


def test_packing_and_cutting_refuse_such_recordings_in_little_memory(tmp_path: Path) -> None:
    for name, rate in (("a", 16_000), ("b", 999_983)):
        (tmp_path / f"{name}.wav").write_bytes(canonical_header(20_000, rate) + bytes(20_000))
    flac = tmp_path / "c.wav"  # by its name
    soundfile.write(tmp_path / "c.flac", np.zeros(1000, np.int16), 16_000)
    content = bytearray((tmp_path / "c.flac").read_bytes())
    content[22:26] = b"\xff" * 4
    flac.write_bytes(content)
    rows = "".join(f"{name}.wav,fan,00,train,normal\n" for name in "abc")
    table = tmp_path / "t.csv"
    table.write_text(f"path,machine_type,machine_id,split,label\n{rows}")
    done = command("shards.pack", "--layout", "table", "--source", table, "--out", tmp_path / "set", "--resample")
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert "999983 Hz" in done.stdout + done.stderr
    done = command("shards.cut", "--source", table, "--seconds", "0.5", "--out", tmp_path / "cut")
    assert (done.returncode, done.stderr.count("error: ")) == (2, 1), done
    assert "more than its size allows" in done.stderr
    assert not (tmp_path / "cut").exists()
