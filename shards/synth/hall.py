"""What lies between the machine and the recording: the room, the rest of the factory, the microphone.

All of it is drawn anew for each clip, alike for all machines: none of it says which unit runs or how well.
"""

from __future__ import annotations

import numpy as np

from shards.synth.signals import (
    ANCHORS_HZ,
    SAMPLE_RATE,
    Signal,
    Spectrum,
    amplitude,
    impulses,
    noise_spectrum,
    resonances,
    smooth_shape,
    to_spectrum,
)

REVERBERATION_S = 0.35
LEVEL_DBFS = -32.0
PEAK = 0.95

NOISE_LEVEL_SD_DB = 3.0
NOISE_TILT_DB = (-5.0, -1.0)  # dB an octave
NOISE_SHAPE_SD_DB = 4.0
GAIN_DB = (-4.0, 4.0)


def room_response(random: np.random.Generator, samples: int) -> Spectrum:
    """(K,) direct sound, eight early reflections within 30 ms and a decaying tail, from a new microphone position."""
    response = np.zeros(samples, dtype=np.float32)
    response[0] = 1.0
    delays = (random.uniform(0.002, 0.03, 8) * SAMPLE_RATE).astype(np.int64)
    response[delays] += random.uniform(-0.35, 0.35, 8).astype(np.float32)
    length = min(samples, int(REVERBERATION_S * SAMPLE_RATE))
    decay = np.exp(-6.9 * np.arange(length, dtype=np.float32) / length)
    response[:length] += 0.012 * decay * random.standard_normal(length, dtype=np.float32)
    return to_spectrum(response)


def factory_noise(random: np.random.Generator, samples: int) -> Spectrum:
    """(K,) the rest of the hall: coloured noise, one to three humming machines, sometimes a clank; RMS about 1."""
    tilt_db = random.uniform(*NOISE_TILT_DB) * np.log2(ANCHORS_HZ / 1000)
    shape = smooth_shape(tilt_db + NOISE_SHAPE_SD_DB * random.standard_normal(len(ANCHORS_HZ)), samples)
    noise = noise_spectrum(random, samples) * shape
    return noise + to_spectrum(hums(random, samples)) + clanks(random, samples)


def hums(random: np.random.Generator, samples: int) -> Signal:
    """(T,) other machines far away: tones with a few harmonics."""
    time_s = np.arange(samples, dtype=np.float32) / np.float32(SAMPLE_RATE)
    total = np.zeros(samples, dtype=np.float32)
    for _ in range(random.integers(1, 4)):
        first_hz, height = np.exp(random.uniform(np.log(40), np.log(600))), amplitude(random.uniform(-22, -8))
        for harmonic in range(1, 4):
            angle = np.float32(2 * np.pi * first_hz * harmonic) * time_s + np.float32(random.uniform(0, 6.28))
            total += np.float32(height / harmonic) * np.sin(angle)
    return total


def clanks(random: np.random.Generator, samples: int) -> Spectrum:
    """(K,) zero to two pieces of metal that fall somewhere in the hall."""
    duration_s = samples / SAMPLE_RATE
    count = random.poisson(0.25 * duration_s)
    times_s, heights = random.uniform(0, duration_s, count), random.uniform(10, 40, count)
    modes_hz, quality = np.exp(random.uniform(np.log(400), np.log(5000), 3)), random.uniform(20, 60, 3)
    if count == 0:
        return np.zeros(samples // 2 + 1, dtype=np.complex64)
    return to_spectrum(impulses(times_s, heights, samples)) * resonances(modes_hz, quality, np.ones(3), samples)


def noise_height(random: np.random.Generator, snr_db: float) -> np.float32:
    """Factor on the factory noise: the asked mean ratio to a healthy machine, and what differs from clip to clip."""
    return np.float32(amplitude(-snr_db + NOISE_LEVEL_SD_DB * random.standard_normal()))


def recorded(pressure: Signal, random: np.random.Generator) -> Signal:
    """(T,) what the microphone delivers, full scale 1: a gain a few dB around the mean, a peak below 1 in any case."""
    signal = pressure * np.float32(amplitude(LEVEL_DBFS + random.uniform(*GAIN_DB)))
    return signal * np.float32(min(1.0, PEAK / float(np.abs(signal).max())))
