"""Level checks: what a dead microphone, a wrong gain or a wrong scale leaves in 16-bit samples.

Legend: N samples, K channels.
"""

from __future__ import annotations

import numpy as np

FULL_SCALE = 32_500  # in magnitude: some converters clip a little below 32768
LEVELS, NEARLY_ALL = 64, 0.99  # of 65536, and the share of samples within them; an RMS of 12 or less
CLIPPED = 0.01  # share of samples at full scale; of a sine that just reaches it 0.004
HELD = 0.6  # share of samples that repeat the one before
CANCELLED = 0.25  # of the power that the mean of channels without anything in common would have
STEP = 13  # one sample in so many is enough for shares; few machines hum at 1/13 of the rate
FEWEST = 100  # samples from which a share means something

MAX_OVER, MIN_PEAK = 0.1, 8.0  # share of float samples beyond 1, and their peak: no clipping, another scale

SCALE, SILENT, CONSTANT = "scale", "silent", "constant"
FAULTS = {  # fault → the end of a sentence about clips
    SCALE: "were floats far beyond full scale, 1, and are clipped to noise: divide the samples, as by ffmpeg -i IN.wav "
    "-af volume=1/32768 -c:a pcm_s16le OUT.wav",
    SILENT: "are silent: every sample is 0",
    CONSTANT: "are silent but for a constant: every sample is the same",
    "quiet": f"are so quiet that 99 % of their samples use fewer than {LEVELS} of the 65536 levels of 16 bits",
    "clipped": "are clipped: 1 % of their samples or more are at full scale",
    "stuck": "have stuck levels: more than half of their samples repeat the one before",
    "offset": "never cross level 0: a constant offset is larger than their sound",
    "dead_channel": "come from recordings with a channel of constant level beside others",
    "cancelled": "lost nearly all of their level when channels were averaged: are wires crossed? try --channel N",
}
NOTHING_TO_LEARN = frozenset({SCALE, SILENT, CONSTANT})


def level_faults(samples: np.ndarray) -> tuple[str, ...]:
    """What is odd about the levels of (N,) int16 samples, in words of FAULTS; the worst alone where one says it all."""
    if len(samples) == 0:
        return ()
    low, high = int(samples.min()), int(samples.max())
    if low == high:
        return (SILENT,) if low == 0 else (CONSTANT,)
    if len(samples) < FEWEST:
        return ()
    some = samples[:-1:STEP]
    middle = int(some.mean())
    near = np.count_nonzero((some > middle - LEVELS // 2) & (some < middle + LEVELS // 2))
    quiet = near >= NEARLY_ALL * len(some)
    at_ends = np.count_nonzero((some == low) | (some == high))
    held = np.count_nonzero(some == samples[1::STEP])
    found = {
        "quiet": quiet,
        "clipped": (high >= FULL_SCALE or low <= -FULL_SCALE) and at_ends >= CLIPPED * len(some),
        "stuck": not quiet and held >= HELD * len(some),
        "offset": low > 0 or high < 0,
    }
    return tuple(fault for fault, there in found.items() if there)


def in_other_scale(samples: np.ndarray) -> bool:
    """Whether float samples are in the scale of whole numbers, of which clipping leaves noise."""
    size = np.abs(samples)
    return bool(size.max(initial=0) >= MIN_PEAK and np.count_nonzero(size > 1) > MAX_OVER * size.size)


def has_dead_channel(samples: np.ndarray) -> bool:
    """Whether one of (N, K) int16 channels is constant and another is not."""
    dead = [bool((samples[::STEP, k] == samples[0, k]).all() and (samples[:, k] == samples[0, k]).all())
            for k in range(samples.shape[1])]  # fmt: skip
    return any(dead) and not all(dead)


def cancel(samples: np.ndarray) -> bool:
    """Whether the mean of (N, K) int16 channels has far less power than that of unrelated channels, 1/K of theirs."""
    some = samples[::STEP].astype(np.float32)
    power = some.var(axis=0).mean()
    return len(some) >= FEWEST and bool(some.mean(axis=1).var() < CANCELLED * power / samples.shape[1])


def repeats(samples: np.ndarray) -> bool:
    """Whether (N,) int16 samples are one block again and again, to the bit, as of a driver that hangs: no microphone
    hears the same noise twice. A constant is another fault."""
    if len(samples) < 2 * FEWEST or int(samples.min()) == int(samples.max()):
        return False
    raw = np.ascontiguousarray(samples).tobytes()
    begin = raw[: 2 * FEWEST]
    at = raw.find(begin, 2)
    while at != -1 and at % 2:
        at = raw.find(begin, at + 1)
    return 0 < at <= len(raw) - 2 * FEWEST and raw[at:] == raw[: len(raw) - at]
