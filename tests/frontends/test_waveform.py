"""The waveform as input of a network, with the log-mel of the untrained baselines beside it."""

from __future__ import annotations

from dataclasses import replace

import pydantic
import pytest
import torch

from asd.backbones import MultiBranchConfig
from asd.frontends import LogMelConfig, WaveformConfig, WindowsConfig, build_frontend
from asd.losses import SubClusterAdaCosConfig
from asd.tasks.system import System
from tests.support.parts import FACE, batch_of, task_of

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
    windows = WindowsConfig(frames=8_000, hop=4_000)
    System(frontend=WaveformConfig(), windows=windows, backbone=branches, loss=loss)
    with pytest.raises(pydantic.ValidationError, match=r"windows\.copies=3 is for networks of several channels"):
        System(
            frontend=WaveformConfig(), windows=windows.model_copy(update={"copies": 3}), backbone=branches, loss=loss
        )


def test_windows_are_cut_of_samples():
    """So a network for one length hears longer clips piece by piece."""
    branches = MultiBranchConfig(n_fft=(128,), fft_samples=None, width=8)
    task = task_of(
        frontend=WaveformConfig(), windows=WindowsConfig(frames=2_000, hop=1_000), backbone=branches,
        loss=SubClusterAdaCosConfig(),
    ).eval()  # fmt: skip
    batch = batch_of([0, 1, 2, 0])
    found = task.embed(batch)
    assert found.embedding.shape == (4, 3, 8)
    second = task.embed(replace(batch, waveform=batch.waveform[:, 1_000:3_000]))
    torch.testing.assert_close(found.embedding[:, 1], second.embedding[:, 0], rtol=1e-4, atol=1e-6)
