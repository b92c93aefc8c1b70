"""The STFT frontend against numpy's FFT, frame by frame."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
import torch

from asd.frontends import STFTConfig, build_frontend

RATE = 16_000


def sound(samples: int, clips: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def spectra(waveform: np.ndarray, n_fft: int, hop: int, center: bool) -> np.ndarray:
    """|FFT| of (B, T) in float64, (B, bins, F), one frame after the other."""
    if center:
        waveform = np.pad(waveform, ((0, 0), (n_fft // 2, n_fft // 2)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    starts = range(0, waveform.shape[1] - n_fft + 1, hop)
    return np.stack([np.abs(np.fft.rfft(waveform[:, s : s + n_fft] * window)) for s in starts], -1)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n_fft", "hop"), [(2046, 512), (512, 200)])
def test_equals_numpys_fft(n_fft, hop, center):
    waveform = sound(20_000)
    expected = spectra(waveform.double().numpy(), n_fft, hop, center)
    config = STFTConfig(n_fft=n_fft, hop=hop, center=center, scale="magnitude")
    frontend = build_frontend(config, RATE)
    got = frontend(waveform)
    assert got.shape == (2, 1, frontend.bins, config.frames_of(20_000)) == (2, 1, *expected.shape[1:])
    np.testing.assert_allclose(got[:, 0].numpy(), expected, rtol=1e-3, atol=1e-4)
    decibels = build_frontend(config.model_copy(update={"scale": "db"}), RATE)(waveform)
    np.testing.assert_allclose(decibels[:, 0].numpy(), 10 * np.log10(expected**2 + 1e-10), atol=0.02)


def test_s4_has_1024_bins_and_313_frames_of_ten_seconds_or_512_of_mean_power():
    waveform = sound(160_000)
    whole = build_frontend(STFTConfig(scale="magnitude"), RATE)(waveform)
    frontend = build_frontend(STFTConfig(scale="magnitude", bins_together=2), RATE)
    assert (whole.shape, frontend.bins) == ((2, 1, 1024, 313), 512)
    expected = ((whole[:, :, 0::2] ** 2 + whole[:, :, 1::2] ** 2) / 2).sqrt()
    torch.testing.assert_close(frontend(waveform), expected)


def test_mixes_spectrograms_and_knows_its_channel():
    frontend, waveform = build_frontend(STFTConfig(), RATE), sound(4000)
    mixed = frontend(waveform, lambda x: 0.25 * x + 0.75 * x.flip(0))
    plain = frontend(waveform)
    torch.testing.assert_close(mixed[0], 0.25 * plain[0] + 0.75 * plain[1])
    assert (frontend.channels, frontend.mel_channel) == (1, 0)
    assert not frontend.state_dict()


def test_is_float32_under_autocast():
    frontend, waveform = build_frontend(STFTConfig(), RATE), sound(8000)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = frontend(waveform)
    assert under_autocast.dtype == torch.float32
    assert under_autocast.equal(frontend(waveform))


def test_bins_that_do_not_divide_are_refused():
    with pytest.raises(pydantic.ValidationError, match="bins_together=3 does not divide the 1024 bins of n_fft=2046"):
        STFTConfig(bins_together=3)
