"""Wav files that are written at once: the very bytes of soundfile's own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from shards.wav_file import write_wav


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_same_bytes_as_soundfile_writes(tmp_path, subtype, channels):
    samples = np.random.default_rng(0).uniform(-1, 1, (1601, channels)).astype(np.float32)
    write_wav(tmp_path / "ours.wav", samples, 44_100, subtype)
    soundfile.write(tmp_path / "theirs.wav", samples, 44_100, subtype)
    assert timeless(tmp_path / "ours.wav") == timeless(tmp_path / "theirs.wav")


def timeless(path: Path) -> bytes:
    """The bytes of a wav file but for the second in which it was written, which the PEAK chunk of floats holds."""
    return re.sub(rb"(PEAK.{8}).{4}", rb"\1", path.read_bytes(), flags=re.DOTALL)
