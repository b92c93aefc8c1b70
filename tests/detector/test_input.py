"""What is no sound has a state, and a wrong rate is told by the clock."""

from __future__ import annotations

import numpy as np
import pytest

from asd.audio.levels import repeats
from asd.detector.input import DEAF, IN_WORDS, Clock, state_of

NOISE = np.random.default_rng(0).integers(-3000, 3000, 16_000).astype(np.int16)


@pytest.mark.parametrize(
    ("samples", "state"),
    [
        (NOISE, "ok"),
        (NOISE // 100, "ok"),  # quiet
        (np.zeros(16_000, np.int16), "silent"),
        (np.full(16_000, 7, np.int16), "constant"),
        (np.clip(NOISE.astype(int) * 50, -32768, 32767).astype(np.int16), "clipped"),
        (np.repeat(NOISE[:4000], 4), "stuck"),
        (np.tile(NOISE[:1600], 10), "repeating"),
        (np.tile(NOISE[:1601], 10)[:16_000], "repeating"),
        (np.concatenate([NOISE[:8000], NOISE[:8000]]), "repeating"),
    ],
)
def test_each_fault_of_an_input_is_told(samples: np.ndarray, state: str) -> None:
    assert state_of(samples) == state
    assert state_of(np.stack([NOISE, samples], 1)) == state, "as the reference microphone"
    assert state in IN_WORDS
    assert state == "ok" or state in DEAF


def test_a_sound_that_nearly_repeats_does_not() -> None:
    tiled = np.tile(NOISE[:1600], 10)
    tiled[9000] += 1
    assert not repeats(tiled)
    assert not repeats(NOISE[:150])
    assert not repeats(np.full(1000, 5, np.int16))


@pytest.mark.parametrize(("speed", "wrong"), [(1.0, False), (0.97, False), (0.9, True), (0.5, True), (3.0, True)])
def test_a_rate_is_held_against_the_clock(speed: float, wrong: bool) -> None:
    now = [100.0]
    clock = Clock(16_000, lambda: now[0])
    judged = []
    for _ in range(50):
        now[0] += 1.0
        if (rate := clock.add(round(16_000 * speed))) is not None:
            assert rate == pytest.approx(16_000 * speed, rel=0.01)
            judged.append(clock.is_wrong(rate))
    assert judged == [False, wrong, wrong, wrong]  # twice in a row


def test_sound_that_waited_comes_at_no_wrong_rate() -> None:
    now = [100.0]
    clock = Clock(16_000, lambda: now[0])
    for second in range(60):
        now[0] += 1.0 if second != 9 else 3.0  # something was computed
        piece = 16_000 if second != 10 else 3 * 16_000
        if (rate := clock.add(piece)) is not None:
            assert not clock.is_wrong(rate)
