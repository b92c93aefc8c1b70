"""Log-mel against torchaudio's own transform, and the promises of precision, level and length."""

from __future__ import annotations

import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from asd.errors import UserError
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
        LogMelConfig(pad_mode="reflect"),
    ],
    ids=["zeros beyond", "s2", "other", "s1"],
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
        pad_mode=config.pad_mode,
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


def test_mirrored_ends_are_torchaudios_default_and_need_half_a_window():
    waveform, config = sound(4, 16_000), LogMelConfig(pad_mode="reflect")
    expected = 10 * torch.log10(MelSpectrogram(RATE, n_fft=1024, hop_length=512, n_mels=128)(waveform) + 1e-10)
    assert (build_frontend(config, RATE)(waveform).squeeze(1) - expected).abs().max() < 1e-4
    assert config.samples_for(1) == 513
    assert (config.frames_of(512), config.frames_of(513)) == (0, 2)
    with pytest.raises(UserError, match=r"512 samples gives no frame: with pad_mode=reflect the frontend needs 513"):
        build_frontend(config, RATE)(sound(1, 512))


def test_carries_nothing_into_the_checkpoint():
    assert not build_frontend(LogMelConfig(), RATE).state_dict()


@pytest.mark.parametrize("samples", [160_000, 1_024, 16_001])
def test_without_center_no_frame_reaches_beyond_the_clip(samples):
    waveform = sound(4, samples)
    reference = MelSpectrogram(RATE, n_fft=1024, hop_length=512, n_mels=128, power=2.0, center=False)
    ours = build_frontend(LogMelConfig(center=False), RATE)(waveform)
    assert ours.shape == (4, 1, 128, 1 + (samples - 1024) // 512)
    assert (ours.squeeze(1) - 10 * torch.log10(reference(waveform) + 1e-10)).abs().max() < 1e-4


def test_s3_has_311_frames_of_ten_seconds():
    assert build_frontend(LogMelConfig(center=False), RATE)(sound(1, 160_000)).shape == (1, 1, 128, 311)


def test_a_clip_without_a_frame_is_refused():
    with pytest.raises(UserError, match=r"a clip of 1023 samples gives no frame: .* needs 1024 \(n_fft=1024\)"):
        build_frontend(LogMelConfig(center=False), RATE)(sound(1, 1_023))


def test_zero_mean_takes_a_constant_away_from_each_clip():
    waveform = sound(3, 8_000)
    waveform = waveform - waveform.mean(1, keepdim=True)
    shifted = waveform + torch.tensor([[0.5], [-0.1], [0.0]])
    got = build_frontend(LogMelConfig(zero_mean=True), RATE)(shifted)
    assert (got - build_frontend(LogMelConfig(), RATE)(waveform)).abs().max() < 0.05
    assert (build_frontend(LogMelConfig(), RATE)(shifted) - got)[0, 0, 0].min() > 20  # the lowest band holds 0 Hz


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n_fft", "hop"), [(1024, 512), (2046, 512), (401, 100)])
def test_lengths_and_frames_are_those_of_the_transform(n_fft, hop, center):
    config = LogMelConfig(n_fft=n_fft, hop=hop, center=center, n_mels=20)
    frontend = build_frontend(config, RATE)
    for samples in (n_fft, 4_000, 4_096, 5_001):
        assert frontend(torch.zeros(1, samples)).shape[-1] == config.frames_of(samples)
    for frames in (1, 2, 7):
        least = config.samples_for(frames)
        assert frontend(torch.zeros(1, least)).shape[-1] == config.frames_of(least) == frames
        assert config.frames_of(least - 1) == frames - 1 or least == 1
