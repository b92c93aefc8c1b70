"""A room that changes is told from a fault, and neither from little."""

from __future__ import annotations

import numpy as np
import torch

from asd.detector.drift import Drift, Room
from asd.detector.normals import Normals, Shown
from tests.support.embedded import embedded_of

BANDS = 40
RANDOM = np.random.default_rng(0)


def spectra(count: int, seed: int) -> np.ndarray:
    """Of normal clips: a slope, the loudness of each, and what each band does."""
    random = np.random.default_rng(seed)
    return -np.linspace(30, 60, BANDS) + random.normal(0, 0.5, (count, 1)) + random.normal(0, 0.8, (count, BANDS))


def room(count: int = 30) -> Room:
    rows = embedded_of(torch.empty(count, 0), features=torch.from_numpy(spectra(count, 0)).float())
    noise = RANDOM.integers(-900, 900, (count, 800)).astype(np.int16)
    return Room(Normals.of(rows, {"features"}, [Shown.of(str(n), own, 16_000) for n, own in enumerate(noise)]))


def drift(windows: np.ndarray) -> Drift:
    found = room().drift(windows)
    assert found is not None
    return found


def test_new_normal_windows_are_no_drift() -> None:
    for seed in range(1, 21):
        assert not drift(spectra(12, seed)).has_changed


def test_another_gain_or_another_place_is_a_drift() -> None:
    place = 4.0 * np.sin(np.linspace(0, 6, BANDS)) + 2.0
    for change in (6.0, -6.0, place):
        found = drift(spectra(12, 1) + change)
        assert found.has_changed, found
        assert found.alike == 1.0
    assert "12 windows" not in drift(spectra(12, 1) + 6.0).in_words()
    assert "of 40 bands, where normal recordings differ by" in drift(spectra(12, 1) + 6.0).in_words()


def test_a_tone_in_all_windows_is_none_and_a_bang_in_one_is_none() -> None:
    tone = spectra(12, 1)
    tone[:, 20:23] += 25.0
    assert not drift(tone).has_changed
    bang = spectra(12, 1)
    bang[:4] += 15.0
    assert not drift(bang).has_changed


def test_windows_that_differ_among_themselves_are_none() -> None:
    mixed = spectra(12, 1)
    mixed[:6] += 8.0
    mixed[6:] -= 8.0
    assert not drift(mixed).has_changed


def test_of_little_nothing_is_said() -> None:
    assert room().drift(spectra(4, 1) + 20.0) is None
    assert room(4).drift(spectra(12, 1) + 20.0) is None
