"""Whether what comes in is sound: a dead, clipped, stuck or missing input is said aloud, never taken for a fault."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np

from asd.audio.levels import level_faults, repeats

OK, MISSING, ENDED, WRONG_RATE, REPEATING = "ok", "missing", "ended", "wrong_rate", "repeating"
UNREADABLE, TOO_SHORT = "unreadable", "too_short"  # of recordings
DEAF = ("silent", "constant", REPEATING, "clipped", "stuck")  # in which no score means anything, the worst first
IN_WORDS = {
    OK: "sound comes in",
    MISSING: "nothing comes in: is the recorder running?",
    ENDED: "nothing is heard from here on: the source has ended, or listening was stopped",
    WRONG_RATE: "samples come at another rate than --rate says: check it, and the load of this computer",
    "silent": "every sample is 0: is the microphone connected?",
    "constant": "every sample is the same: is the microphone connected?",
    "clipped": "samples are clipped: turn the gain down",
    "stuck": "most samples repeat the one before: check the converter",
    REPEATING: "the same block of samples comes again and again: the driver or the recorder hangs",
}
OF_RECORDINGS = IN_WORDS | {
    MISSING: "there is no file, or nothing in it: did the recorder run?",
    UNREADABLE: "it cannot be read, or has other channels than the detector hears",
    TOO_SHORT: "it is shorter than what the network can hear",
    WRONG_RATE: "it was made at another sample rate than the detector learnt from: what that lacks looks like a fault",
}
NOTHING = ("silent", "constant", REPEATING)  # in which there is nothing that any machine could be heard by
OFF, CLOCK_S = 0.05, 10.0  # part by which a rate may differ, and seconds of which it is taken


def state_of(samples: np.ndarray, faults: Collection[str] = ()) -> str:
    """The state of a window (T,) int16, of two microphones (T, 2) the worse one's.

    faults: of its levels before it was resampled, which blurs them.
    """
    found = {
        fault
        for one in samples.reshape(len(samples), -1).T
        for fault in (*level_faults(one), *([REPEATING] if repeats(one) else []))
    }
    return worst({*found, *faults})


def worst(states: Collection[str]) -> str:
    """Of several states of one input."""
    return next((state for state in (*DEAF, WRONG_RATE) if state in states), OK)


def sound_of(samples: np.ndarray) -> str:
    """The state of a window of a recording, in which a machine may be as clipped as in its normal recordings."""
    state = state_of(samples)
    return state if state in NOTHING else OK


@dataclass
class Clock:
    """Counts samples against the time in which they come.

    A rate is wrong that is so twice in a row, in one direction: sound that waits while something is computed, as why an
    alarm begins, is missing first, and then comes at once.
    """

    rate: int
    now: Callable[[], float] = time.monotonic
    _begin_s: float | None = None
    _samples: int = field(default=0)
    _off: float = field(default=0.0)  # of the last rate

    def add(self, samples: int) -> float | None:
        """Samples a second since the last time that this was known; None: it is too early."""
        if self._begin_s is None:  # the first piece may have waited
            self._begin_s = self.now()
            return None
        self._samples += samples
        passed = self.now() - self._begin_s
        if passed < CLOCK_S:
            return None
        found, self._begin_s, self._samples = self._samples / passed, self.now(), 0
        return found

    def is_wrong(self, found: float) -> bool:
        """Whether this rate and the one before it are."""
        before, self._off = self._off, found / self.rate - 1
        return min(before, self._off) > OFF or max(before, self._off) < -OFF

    def restart(self) -> None:
        """After a gap."""
        self._begin_s, self._samples, self._off = None, 0, 0.0
