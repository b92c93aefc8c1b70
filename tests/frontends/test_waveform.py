"""The waveform as input of a network, with the log-mel of the untrained baselines beside it."""

from __future__ import annotations

import pydantic
import pytest
import torch

from asd.backbones import MultiBranchConfig
from asd.frontends import LogMelConfig, WaveformConfig, build_frontend
from asd.losses import SubClusterAdaCosConfig
from asd.tasks.system import System
from tests.support.parts import FACE

RATE = 16_000


def sound(clips: int = 3, samples: int = 5_000) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def test_gives_the_samples_or_mixtures_of_them():
    frontend, waveform = build_frontend(WaveformConfig(), RATE), sound()
    assert frontend(waveform).equal(waveform.view(3, 1, 1, 5_000))
    assert frontend(waveform, lambda x: x.flip(0)).equal(waveform.flip(0).view(3, 1, 1, 5_000))
    assert WaveformConfig().frames_of(5_000) == WaveformConfig().samples_for(5_000) == 5_000


def test_features_are_those_of_a_log_mel_system():
    mel = LogMelConfig(n_fft=512, n_mels=40)
    waveform, frontend, plain = sound(), build_frontend(WaveformConfig(mel=mel), RATE), build_frontend(mel, RATE)
    found = frontend.features(frontend(waveform))
    assert found.shape == (3, 40)
    assert found.equal(plain.features(plain(waveform)))
    assert found.equal(plain(waveform)[:, 0].mean(-1))


def test_only_networks_with_spectra_of_their_own_take_it():
    loss, branches = SubClusterAdaCosConfig(), MultiBranchConfig(fft_samples=None)
    System(frontend=WaveformConfig(), backbone=branches, loss=loss)
    with pytest.raises(pydantic.ValidationError, match=r"multi_branch makes its own spectra: use frontend\.name=wavef"):
        System(frontend=LogMelConfig(), backbone=branches, loss=loss)
    with pytest.raises(pydantic.ValidationError, match="frontend waveform is for backbones that make their own spectr"):
        System(frontend=WaveformConfig(), backbone=FACE, loss=loss)
