"""Windows of a stream are those of the whole recording, however it comes in."""

from __future__ import annotations

import numpy as np
import pytest

from asd.detector.live.ring import Ring


def pushed(ring: Ring, samples: np.ndarray, seed: int) -> list[tuple[float, np.ndarray]]:
    """The windows of frames that come in pieces of any size."""
    random, found, at = np.random.default_rng(seed), [], 0
    while at < len(samples):
        size = int(random.integers(0, 150))
        found += [(window.begin_s, window.samples) for window in ring.push(samples[at : at + size].tobytes())]
        at += size
    return found


@pytest.mark.parametrize(("length", "hop"), [(100, 100), (100, 30), (100, 250), (7, 1)])
def test_windows_are_those_of_the_recording(length: int, hop: int) -> None:
    samples = np.random.default_rng(0).integers(-999, 999, 5003).astype("<i2")
    found = pushed(Ring(length, hop, 1000, 1, None), samples, 1)
    begins = range(0, len(samples) - length + 1, hop)
    assert [begin for begin, _ in found] == [begin / 1000 for begin in begins]
    for (_, window), begin in zip(found, begins, strict=True):
        np.testing.assert_array_equal(window, samples[begin : begin + length])


@pytest.mark.parametrize("channel", [0, 2, "average"])
def test_channels_come_in_turn(channel: int | str) -> None:
    samples = np.random.default_rng(0).integers(-999, 999, (500, 3)).astype("<i2")
    wanted = np.rint(samples.mean(1)) if channel == "average" else samples[:, int(channel)]
    found = pushed(Ring(100, 100, 1000, 3, channel), samples, 2)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.concatenate([window for _, window in found]), wanted)


def test_two_microphones_stay_beside_each_other() -> None:
    samples = np.random.default_rng(0).integers(-999, 999, (500, 3)).astype("<i2")
    found = pushed(Ring(100, 100, 1000, 3, (2, 0)), samples, 2)
    np.testing.assert_array_equal(np.concatenate([window for _, window in found]), samples[:, [2, 0]])


def test_a_gap_is_in_no_window() -> None:
    ring, samples = Ring(100, 50, 1000, 1, None), np.arange(1000).astype("<i2")
    assert len([*ring.push(samples[:180].tobytes())]) == 2
    ring.clear()
    (window,) = ring.push(samples[500:600].tobytes())
    assert window.samples.tolist() == [*range(500, 600)]
