"""What the clock says of the input, beside what the windows say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from asd.detector.input import CLOCK_S, OK, WRONG_RATE, Clock
from asd.detector.live.listener import follow
from asd.detector.live.ring import Ring

RATE = 100


class Windows:
    """A listener that takes every window for silent, and keeps the states that it is told."""

    def __init__(self) -> None:
        self.state, self.told = OK, list[str]()

    def set_state(self, state: str, at_s: float) -> None:
        if state != self.state:
            self.state = state
            self.told.append(state)

    def hear(self, window: object) -> None:
        if self.state != WRONG_RATE:
            self.set_state("silent", 0.0)


class Seconds:
    """A source of so many seconds, whose clock goes on by one with each of them."""

    is_live = True

    def __init__(self, speeds: list[float]) -> None:
        self.speeds, self.now_s = speeds, 0.0

    def pieces(self) -> Iterator[bytes]:
        for speed in self.speeds:
            self.now_s += 1.0
            yield np.zeros(round(speed * RATE), np.int16).tobytes()


def told(speeds: list[float]) -> list[str]:
    source, listener = Seconds(speeds), Windows()
    clock = Clock(RATE, lambda: source.now_s)
    follow(source, Ring(RATE, RATE, RATE, 1, None), listener, clock, None, RATE)  # type: ignore[arg-type]
    return listener.told


def test_a_clock_that_is_right_says_nothing_of_silence() -> None:
    assert told([1.0] * 5 * round(CLOCK_S)) == ["silent"]


def test_a_wrong_rate_goes_before_it_until_the_rate_is_right() -> None:
    seconds = 3 * round(CLOCK_S)
    assert told([0.5] * seconds + [1.0] * seconds) == ["silent", WRONG_RATE, OK, "silent"]
