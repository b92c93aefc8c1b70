"""Waveform → windows → embeddings: every window is embedded as if it stood alone."""

from __future__ import annotations

import pytest
import torch

from asd.augment.mixup import MixupConfig, draw_mix
from asd.data.batch import to_float
from asd.errors import UserError
from asd.frontends import WindowsConfig
from asd.tasks.encoder import mixed
from tests.tasks.parts import FRONTEND, WINDOWS, batch_of, task_of


@pytest.mark.parametrize(
    "windows",
    [WINDOWS, WindowsConfig(frames=5, hop=2, normalise="piece"), WindowsConfig(frames=16, hop=3, copies=3)],
    ids=["hop 4", "normalised", "three copies"],
)
def test_a_row_is_the_window_embedded_by_itself(windows: WindowsConfig) -> None:
    encoder = task_of(windows=windows).encoder.eval()
    waveform = to_float(batch_of([0, 1, 2]).waveform)
    found = encoder(waveform)
    spectrogram = encoder.frontend(waveform)
    assert spectrogram.shape == (3, 1, FRONTEND.n_mels, 16)
    starts = range(0, 16 - windows.frames + 1, windows.hop)
    assert found.shape == (3, len(starts), 16)
    for clip in range(3):
        for number, start in enumerate(starts):
            piece = spectrogram[clip, 0, :, start : start + windows.frames]
            if windows.normalise == "piece":
                piece = (piece - piece.mean()) / piece.std(correction=0)
            alone = encoder.backbone(torch.stack([piece] * windows.copies)[None])
            torch.testing.assert_close(found[clip, number], alone[0], rtol=1e-4, atol=1e-5)


def test_without_windows_a_clip_is_one_row() -> None:
    encoder = task_of().encoder.eval()
    waveform = to_float(batch_of([0, 1, 2]).waveform)
    found = encoder(waveform)
    assert found.shape == (3, 1, 16)
    torch.testing.assert_close(found[:, 0], encoder.backbone(encoder.frontend(waveform)))


def test_features_are_the_time_mean_of_the_whole_clip() -> None:
    encoder = task_of(windows=WINDOWS).encoder
    spectrogram = encoder.frontend(to_float(batch_of([0, 1, 2]).waveform))
    torch.testing.assert_close(encoder.features(spectrogram), spectrogram.sum(-1)[:, 0] / 16)


@pytest.mark.parametrize("of", ["waveform", "spectrogram"])
def test_mixtures_are_made_before_windows_are_cut(of: str) -> None:
    encoder = task_of(windows=WINDOWS).encoder.eval()
    waveform = to_float(batch_of([0] * 8).waveform)
    mix = draw_mix(MixupConfig(), 0, 0, 0, 0, 8)
    if of == "waveform":
        expected = encoder.embed(encoder.frontend(mix.apply(waveform)))
    else:
        expected = encoder.embed(mix.apply(encoder.frontend(waveform)))
    torch.testing.assert_close(mixed(encoder, waveform, mix, of), expected)
    torch.testing.assert_close(mixed(encoder, waveform, None, of), encoder(waveform))


def test_a_clip_shorter_than_a_window_is_refused_with_the_length_it_needs() -> None:
    encoder = task_of(windows=WindowsConfig(frames=17, hop=1)).encoder
    with pytest.raises(UserError, match=r"a clip gives 16 frames and a window has 17.* at least 0\.256 s"):
        encoder(torch.zeros(1, 4_000))
    assert encoder(torch.zeros(1, round(0.256 * 16_000))).shape[1] == 1
