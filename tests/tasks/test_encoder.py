"""Waveform → windows → embeddings: every window is embedded as if it stood alone."""

from __future__ import annotations

import pytest
import torch

from asd.augment.mixup import MixupConfig, draw_mix
from asd.data.batch import to_float
from asd.errors import UserError
from asd.frontends import WindowsConfig
from asd.tasks.encoder import mixed
from asd.tasks.pairs import branches
from tests.support.parts import FRONTEND, WINDOWS, batch_of, task_of


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
    torch.testing.assert_close(encoder.frontend.features(spectrogram), spectrogram.sum(-1)[:, 0] / 16)


@pytest.mark.parametrize("of", ["waveform", "spectrogram"])
def test_mixtures_are_of_waveforms_or_of_whole_spectrograms(of: str) -> None:
    encoder = task_of(windows=WINDOWS).encoder.eval()
    waveform = to_float(batch_of([0] * 8).waveform)
    mix = draw_mix(MixupConfig(), 0, 0, 0, 0, 8)
    show = encoder.frontend
    expected = show(mix.apply(waveform)) if of == "waveform" else mix.apply(show(waveform))
    torch.testing.assert_close(mixed(encoder.frontend, waveform, mix, of), expected)
    torch.testing.assert_close(mixed(encoder.frontend, waveform, None, of), encoder.frontend(waveform))


def test_a_clip_shorter_than_a_window_is_refused_with_the_length_it_needs() -> None:
    encoder = task_of(windows=WindowsConfig(frames=17, hop=1)).encoder
    with pytest.raises(UserError, match=r"a clip gives 16 frames and a window has 17.* at least 0\.256 s"):
        encoder(torch.zeros(1, 4_000))
    assert encoder(torch.zeros(1, round(0.256 * 16_000))).shape[1] == 1


def test_drawn_windows_have_the_edges_of_scoring() -> None:
    """What a training step sees of a clip is a row of what evaluation sees of it, to the last bit."""
    windows = WINDOWS.model_copy(update={"drawn": 1})
    encoder, batch = task_of(windows=windows).encoder.eval(), batch_of([0, 1, 2, 0])
    spectrogram = encoder.frontend(to_float(batch.waveform))
    places = encoder.places(spectrogram, batch)
    assert places is not None
    drawn, every = encoder.cut(spectrogram, places), encoder.cut(spectrogram)
    assert drawn.shape[:2] == (4, 1) and every.shape[:2] == (4, 3)
    assert all(drawn[clip, 0].equal(every[clip, places[clip, 0]]) for clip in range(4))


@pytest.mark.parametrize("name", ["vicreg", "interpolation"])
def test_a_pair_is_of_windows_from_places_of_their_own(name: str) -> None:
    windows = WINDOWS.model_copy(update={"drawn": 1})
    loss = {} if name == "interpolation" else {"loss": None}
    encoder, batch = task_of(task={"name": name}, windows=windows, **loss).encoder.eval(), batch_of([0] * 8)
    shown = encoder.frontend(to_float(batch.waveform))
    every, places = encoder.cut(shown), encoder.places(shown, batch)
    assert places is not None
    weight = torch.tensor([0.1, 0.4, 0.8, 1.0])
    first, second, mixture = branches(encoder, batch, slice(0, None, 2), slice(1, None, 2), weight, "spectrogram")
    apart = 0
    for pair in range(4):
        own, other = (every[row, places[row, 0]] for row in (2 * pair, 2 * pair + 1))
        torch.testing.assert_close(first[pair, 0], own)
        torch.testing.assert_close(second[pair, 0], other)
        torch.testing.assert_close(mixture[pair, 0], weight[pair] * own + (1 - weight[pair]) * other)
        apart += bool(places[2 * pair, 0] != places[2 * pair + 1, 0])
    assert apart
    first, second, mixture = branches(encoder, batch, slice(0, None, 2), slice(1, None, 2), weight, "waveform")
    for pair in range(4):  # waveforms are mixed whole, so the windows of a pair lie at one place
        torch.testing.assert_close(second[pair, 0], every[2 * pair + 1, places[2 * pair, 0]])
    torch.testing.assert_close(mixture[3], first[3])
