"""Explanations name the band and the moment that were changed, whatever scores the recording, and shares add up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from asd.detector.explain import Equaliser, explain, normal_levels, strongest
from asd.detector.normals import Normals, Shown
from asd.detector.picture import BANDS, COLUMNS, in_decibels, picture_of
from asd.detector.why import hertz, in_words
from tests.support.embedded import embedded_of

RATE, SECONDS = 16_000, 2.0
COUNT = round(RATE * SECONDS)


def machine(seed: int, gain: float = 1.0) -> np.ndarray:
    """(T,) int16: noise that falls by 6 dB an octave, and a hum."""
    random = np.random.default_rng(seed)
    hertz = np.fft.rfftfreq(COUNT, 1 / RATE)
    spectrum = np.fft.rfft(random.standard_normal(COUNT)) / np.maximum(hertz / 200, 1)
    hum = 0.5 * np.sin(2 * np.pi * 300 * np.arange(COUNT) / RATE)
    return np.round(gain * 1500 * (np.fft.irfft(spectrum, COUNT) + hum)).astype(np.int16)


def in_band(samples: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    hertz, spectrum = np.fft.rfftfreq(COUNT, 1 / RATE), np.fft.rfft(samples)
    return np.fft.irfft(spectrum * ((hertz >= low_hz) & (hertz <= high_hz)), COUNT)


@pytest.fixture(scope="module")
def normals() -> Normals:
    """Five recordings, one of them three times as loud."""
    sounds = [machine(seed, gain=3.0 if seed == 4 else 1.0) for seed in range(5)]
    rows = embedded_of(torch.zeros(5, 2), features=torch.zeros(5, 4))
    return Normals.of(rows, {"features"}, [Shown.of(f"n{k}.wav", sound, RATE) for k, sound in enumerate(sounds)])


def mean_levels(normals: Normals) -> Callable[[np.ndarray], np.ndarray]:
    """A score by the mean levels of bands, against those of the first four recordings."""
    usual = torch.stack([normals.picture(clip) for clip in range(4)]).mean((0, 2))

    def score(windows: np.ndarray) -> np.ndarray:
        shown = torch.stack([pictured(window).mean(1) for window in windows])
        return (shown - usual).square().sum(1).numpy()

    return score


def loudest_moment(windows: np.ndarray) -> np.ndarray:
    """A score that knows of no bands: the loudest 50 ms, in decibels."""
    power = np.square(windows.astype(float)).reshape(len(windows), -1, 800).mean(2)
    return 10 * np.log10(power.max(1))


def pictured(window: np.ndarray) -> torch.Tensor:
    picture, limits = picture_of(window, RATE)
    return in_decibels(picture, *limits)


@pytest.mark.parametrize("scored_by", ["levels", "loudness"])
def test_what_was_added_is_found(scored_by: str, normals: Normals):
    span = (np.arange(COUNT) >= 0.5 * RATE) & (np.arange(COUNT) < 1.1 * RATE)
    hiss = in_band(np.random.default_rng(9).standard_normal(COUNT), 2000, 2800) * span
    samples = np.round(machine(7) + 3000 * hiss).astype(np.int16)
    found = explain(samples, RATE, mean_levels(normals) if scored_by == "levels" else loudest_moment, normals, 10.0)
    top = found.regions[0]
    assert 1850 < top.low_hz < 2150
    assert 2600 < top.high_hz < 3000
    assert top.share > 0.5
    assert top.level_db > 10
    assert 10.4 < top.begin_s < 10.6
    assert 11.0 < top.end_s < 11.2
    assert found.nearest != "n4.wav"
    assert sum(region.share for region in found.regions) + found.rest == pytest.approx(1)
    assert found.score > found.as_normal
    assert in_words(found).startswith(f"{hertz(top)} is {top.level_db:.0f} dB above the closest normal recording (n")
    assert ", most from 10.5 s to 11.1 s; " in in_words(found)


def test_what_is_missing_is_found(normals: Normals):
    samples = machine(7)
    quiet = np.round(samples - 0.97 * in_band(samples, 1000, 1500)).astype(np.int16)
    top = explain(quiet, RATE, mean_levels(normals), normals).regions[0]
    assert 900 < top.low_hz < 1200
    assert 1350 < top.high_hz < 1650
    assert top.level_db < -10
    assert top.end_s - top.begin_s > 0.8 * SECONDS


def test_a_normal_recording_has_little_to_tell(normals: Normals):
    """One that the detector keeps is its own closest one: nothing can be taken back."""
    found = explain(machine(2), RATE, mean_levels(normals), normals)
    assert found.nearest == "n2.wav"
    assert found.score == pytest.approx(found.as_normal, rel=0.05)


def test_a_score_that_nothing_lowers_has_no_bands(normals: Normals):
    found = explain(machine(7), RATE, lambda windows: np.zeros(len(windows)), normals)
    assert (found.regions, found.rest) == ((), 1.0)
    assert in_words(found) == "no band makes it: as the closest normal recording it would score no less"


def test_bands_are_taken_to_the_levels_of_the_normal_recording(normals: Normals):
    samples = np.round(machine(7) * np.linspace(0.3, 3, COUNT)).astype(np.int16)
    shown, normal = pictured(samples), normals.picture(0)
    wanted = normal_levels(shown, normal)
    assert torch.equal(wanted.sort(1).values, normal.sort(1).values)
    assert (wanted.gather(1, shown.argsort(1)).diff(dim=1) >= 0).all()
    (found,) = Equaliser(samples, RATE, wanted - shown)(torch.ones(1, BANDS).bool())
    assert (pictured(found).mean(1) - normal.mean(1)).abs().max() < 1.5
    assert (pictured(samples).mean(1) - normal.mean(1)).abs().max() > 3


def test_no_band_changed_is_the_recording_itself(normals: Normals):
    samples = machine(7)
    (found,) = Equaliser(samples, RATE, torch.full((BANDS, COLUMNS), 9.0))(torch.zeros(1, BANDS).bool())
    assert (found == samples).all()


def test_regions_are_around_peaks():
    influence = np.array([0, 0.1, 1.0, 3.0, 2.0, 0.2, 0.5, 1.9, 0.0, -1.0])
    assert [region.nonzero().flatten().tolist() for region in strongest(influence)] == [[3, 4], [7], [2], [6]]
    assert strongest(np.array([-1.0, 0.0])) == []
