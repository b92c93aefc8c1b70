"""Kaldi's filter bank of a batch against torchaudio's of one recording after the other."""

from __future__ import annotations

import math

import pytest
import torch
from torchaudio.compliance.kaldi import fbank

from asd.frontends.kaldi import KaldiBank, frames_of, samples_for

DECIBELS = 10 / math.log(10)  # of a natural logarithm of energies


@pytest.mark.parametrize("window", ["povey", "hanning"])
@pytest.mark.parametrize("scale", [1.0, 2.0**15])
def test_equals_torchaudio_to_a_ten_thousandth_of_a_decibel(window: str, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    waveform = scale * (0.1 * torch.randn(3, 16_123, generator=generator) + torch.tensor([[0.0], [0.3], [-0.01]]))
    found = KaldiBank(window)(waveform)  # type: ignore[arg-type]
    settings = {"num_mel_bins": 128, "sample_frequency": 16_000, "frame_length": 25, "frame_shift": 10}
    wanted = torch.stack([fbank(row[None], window_type=window, dither=0.0, **settings) for row in waveform])
    assert found.shape == wanted.shape == (3, frames_of(16_123), 128)
    assert float((found - wanted).abs().max()) * DECIBELS < 1e-4


def test_silence_has_the_least_energy() -> None:
    silent = KaldiBank("povey")(torch.zeros(1, 800))
    assert torch.equal(silent, fbank(torch.zeros(1, 800), num_mel_bins=128, sample_frequency=16_000)[None])


@pytest.mark.parametrize("frames", [1, 2, 16, 998])
def test_the_least_samples_of_so_many_frames(frames: int) -> None:
    assert frames_of(samples_for(frames)) == frames
    assert frames_of(samples_for(frames) - 1) == frames - 1


def test_stays_in_float32_under_autocast() -> None:
    bank, waveform = KaldiBank("povey"), torch.randn(1, 1600, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bank(waveform), KaldiBank("povey")(waveform))
    assert bank(waveform).dtype == torch.float32
    assert bank.state_dict() == {}
