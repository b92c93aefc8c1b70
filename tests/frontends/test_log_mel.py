"""Log-mel against torchaudio's own transform, and the promises of precision, level and length."""

from __future__ import annotations

import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from asd.frontends import LogMelConfig, build_frontend

RATE = 16_000


def sound(clips: int, samples: int, seed: int = 0) -> torch.Tensor:
    """Noise and tones of very different loudness, the last clip near silence."""
    noise = torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed))
    tone = torch.sin(2 * torch.pi * 440 / RATE * torch.arange(samples))
    return (0.1 * noise + 0.2 * tone) * torch.logspace(0, -4, clips)[:, None]


@pytest.mark.parametrize(
    "config",
    [
        LogMelConfig(),
        LogMelConfig(n_fft=2048, hop=512, mel_scale="slaney", area_norm=True),
        LogMelConfig(n_fft=400, hop=160, n_mels=40, f_min=50.0, f_max=7_000.0),
    ],
    ids=["s1", "s2", "other"],
)
@pytest.mark.parametrize("samples", [160_000, 16_001, 700])
def test_equals_torchaudio(config, samples):
    waveform = sound(4, samples)
    reference = MelSpectrogram(
        RATE,
        n_fft=config.n_fft,
        hop_length=config.hop,
        f_min=config.f_min,
        f_max=config.f_max,
        n_mels=config.n_mels,
        power=2.0,
        center=True,
        pad_mode="constant",
        norm="slaney" if config.area_norm else None,
        mel_scale=config.mel_scale,
    )
    expected = 10 * torch.log10(reference(waveform) + config.eps)
    ours = build_frontend(config, RATE)(waveform)
    assert ours.shape == (4, 1, config.n_mels, 1 + samples // config.hop)
    assert (ours.squeeze(1) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_is_float32_under_autocast(dtype):
    frontend, waveform = build_frontend(LogMelConfig(), RATE), sound(3, 32_000)
    with torch.autocast("cpu", dtype):
        under_autocast = frontend(waveform)
    assert under_autocast.dtype == torch.float32
    assert under_autocast.equal(frontend(waveform))


def test_level_rms_takes_loudness_away():
    frontend = build_frontend(LogMelConfig(level="rms"), RATE)
    waveform = sound(1, 32_000)
    reference = frontend(waveform)
    for gain in (1e-3, 0.5, 3.0):
        assert (frontend(gain * waveform) - reference).abs().max() < 2e-3
    raw = build_frontend(LogMelConfig(level="raw"), RATE)
    assert (raw(0.5 * waveform) - raw(waveform)).mean().item() == pytest.approx(-6.02, abs=0.02)
    at_target = waveform * 0.1 / waveform.square().mean().sqrt()
    assert (raw(at_target) - reference).abs().max() < 1e-3


@pytest.mark.parametrize("level", ["raw", "rms"])
@pytest.mark.parametrize("samples", [1, 2, 511, 512, 513, 5_000, 300_000])
def test_takes_any_length_and_silence(level, samples):
    frontend = build_frontend(LogMelConfig(level=level), RATE)
    waveform = torch.stack([sound(1, samples)[0], torch.zeros(samples)])
    spectrogram = frontend(waveform)
    assert spectrogram.shape == (2, 1, 128, 1 + samples // 512)
    assert spectrogram.isfinite().all()
    assert (spectrogram[1] == -100).all()


def test_carries_nothing_into_the_checkpoint():
    assert not build_frontend(LogMelConfig(), RATE).state_dict()
