"""Wav files that are written at once: the very bytes of soundfile's own."""

from __future__ import annotations

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
    assert (tmp_path / "ours.wav").read_bytes() == (tmp_path / "theirs.wav").read_bytes()
