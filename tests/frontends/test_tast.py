"""Tgram, log-mel and TAgram: order, published size, any length."""

from __future__ import annotations

import pydantic
import pytest
import torch

from asd.frontends import LogMelConfig, TASTConfig, build_frontend
from asd.frontends.tast import temporal_attention

RATE = 16_000


def build(**settings: object):
    torch.manual_seed(0)
    return build_frontend(TASTConfig(**settings), RATE)


def sound(samples: int, clips: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def test_the_paper_version_has_the_published_size():
    network = build(norm_over="time")
    assert sum(p.numel() for p in network.parameters()) == 280_406
    assert network(sound(160_000)).shape == (2, 3, 128, 313)


@pytest.mark.parametrize("samples", [1, 512, 5_000, 160_000, 300_001])
def test_the_length_free_version_takes_any_length(samples):
    spectrograms = build()(sound(samples))
    assert spectrograms.shape == (2, 3, 128, 1 + samples // 512)
    assert spectrograms.isfinite().all()


def test_the_channels_stand_in_the_published_order():
    network, waveform = build(), sound(32_000)
    spectrograms = network(waveform)
    mel = build_frontend(LogMelConfig(n_fft=2048, hop=512, mel_scale="slaney", area_norm=True), RATE)(waveform)
    torch.testing.assert_close(spectrograms[:, :1], network.tgram(waveform).unsqueeze(1))
    assert spectrograms[:, network.mel_channel].equal(mel[:, 0])
    torch.testing.assert_close(spectrograms[:, 2:], temporal_attention(mel))


def test_attention_weighs_each_frame_by_its_peak_and_mean():
    spectrogram = torch.tensor([[[[1.0, -2.0], [3.0, 0.0]]]])
    first, second = torch.sigmoid(torch.tensor(3.0 + 2.0)), torch.sigmoid(torch.tensor(0.0 - 1.0))
    expected = torch.stack([spectrogram[..., 0] * first, spectrogram[..., 1] * second], -1)
    torch.testing.assert_close(temporal_attention(spectrogram), expected)


def test_a_clip_does_not_depend_on_its_batch_mates():
    network, waveform = build(), sound(20_000, clips=4)
    torch.testing.assert_close(network(waveform)[:1], network(waveform[:1]), rtol=1e-4, atol=1e-4)


def test_frames_are_those_of_the_log_mel():
    config = TASTConfig()
    assert config.frames_of(160_000) == 313
    assert config.frames_of(config.samples_for(313)) == 313
    with pytest.raises(pydantic.ValidationError, match="center=false gives fewer frames"):
        TASTConfig(mel=LogMelConfig(center=False))
