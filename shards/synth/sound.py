"""From a machine's parameters to its sound near the machine.

T samples, K bins, O orders, C clicks, N events. Each part has its own generator, so a fault in one part leaves the
random course of the others as it was.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft

from shards.synth.machine import OFF, Machine
from shards.synth.signals import (
    SAMPLE_RATE,
    Signal,
    Spectrum,
    Values,
    amplitude,
    band_shape,
    impulses,
    noise_spectrum,
    resonances,
    smooth_shape,
    to_spectrum,
    to_time,
)

TABLE = 32_768  # points of one turn: order 60 has 546 of them, an error of -50 dB
BODY_COUPLING = 0.3  # how strongly the resonances colour what is radiated directly

Streams = Callable[[str], np.random.Generator]


def render_machine(machine: Machine, streams: Streams, samples: int) -> Spectrum:
    """(K,) spectrum of the sound; a healthy machine has an RMS of about 1."""
    turns = shaft_turns(machine, streams("shaft"), samples)
    direct = tones(machine, turns, streams("tones")) + flow(machine, turns, streams("flow"))
    direct += cycles_travel(machine, streams, samples) + rubbing(machine, turns, streams("rub"))
    struck = bearing_strikes(machine, turns, streams("bearing")) + cycle_clicks(machine, streams, samples)
    struck += rattling(machine, streams("rattle"), samples)
    body = resonances(machine.modes_hz, machine.modes_q, amplitude(machine.modes_db), samples)
    radiated = to_spectrum(direct) + hiss(machine, streams("hiss"), samples)
    return radiated * (1 + np.float32(BODY_COUPLING) * body) + to_spectrum(struck) * body


def shaft_turns(machine: Machine, random: np.random.Generator, samples: int) -> Values:
    """(T,) turns of the shaft since some moment before the clip; the speed wanders by a few tenths of a per cent."""
    time_s = np.arange(samples) / SAMPLE_RATE
    rate_hz, phase = random.uniform(0.2, 1.5), random.uniform(0, 1)
    wander = 0.003 * np.sin(2 * np.pi * (rate_hz * time_s + phase)) / (2 * np.pi * rate_hz)
    return random.uniform(0, 100) + machine.shaft_hz * (time_s + wander)


def tones(machine: Machine, turns: Values, random: np.random.Generator) -> Signal:
    """(T,) shaft orders up to the Nyquist frequency, modulated once a turn: a table of one turn is read by phase."""
    orders = len(machine.orders_db)
    spectrum = np.zeros(TABLE // 2 + 1, dtype=np.complex64)
    audible = np.arange(1, orders + 1) * machine.shaft_hz < 0.47 * SAMPLE_RATE
    heights = amplitude(machine.orders_db) * audible * (TABLE / np.sqrt(2))
    spectrum[1 : orders + 1] = heights * np.exp(2j * np.pi * random.uniform(0, 1, orders))
    turn = fft.irfft(spectrum, TABLE)
    turn *= modulation(np.arange(TABLE) / TABLE, machine.eccentricity, random.uniform(0, 1))
    return turn[(turns * TABLE).astype(np.int64) & (TABLE - 1)]


def modulation(turns: Values, depth: float, phase: float) -> Signal:
    """A factor around 1 with mean square 1 that swings once a turn."""
    swing = 1 + np.float32(depth) * np.cos(2 * np.pi * (turns + phase)).astype(np.float32)
    return swing / np.float32(np.sqrt(1 + depth**2 / 2))


def flow(machine: Machine, turns: Values, random: np.random.Generator) -> Signal:
    """(T,) shaped noise, modulated by the passing blades."""
    shape = smooth_shape(machine.flow_shape_db, len(turns)) * np.float32(amplitude(machine.flow_db))
    noise = to_time(noise_spectrum(random, len(turns)) * shape, len(turns))
    return noise * modulation(turns * machine.flow_order, machine.flow_depth, random.uniform(0, 1))


def hiss(machine: Machine, random: np.random.Generator, samples: int) -> Spectrum:
    """(K,) spectrum of a steady jet: a third of an octave to either side of its centre."""
    shape = band_shape(machine.hiss_hz, 0.33, samples) * np.float32(amplitude(machine.hiss_db))
    return noise_spectrum(random, samples) * shape


def bearing_strikes(machine: Machine, turns: Values, random: np.random.Generator) -> Signal:
    """(T,) one impulse per passing ball with a few per cent of slip; the cage's turn modulates the heights."""
    samples = len(turns)
    if machine.bearing_db <= OFF / 2:
        return np.zeros(samples, dtype=np.float32)
    first, last = turns[0] * machine.bearing_order, turns[-1] * machine.bearing_order
    passes = np.arange(np.ceil(first), np.floor(last) + 1)
    slip = 0.04 * random.standard_normal(len(passes))
    times_s = np.interp((passes + slip) / machine.bearing_order, turns, np.arange(samples) / SAMPLE_RATE)
    heights = modulation(0.4 * passes / machine.bearing_order, machine.bearing_depth, random.uniform(0, 1))
    height = _height(machine.bearing_db, machine.shaft_hz * machine.bearing_order)
    return impulses(times_s, height * heights * _uneven(random, len(passes)), samples)


def rattling(machine: Machine, random: np.random.Generator, samples: int) -> Signal:
    """(T,) impacts at random times, uneven in height."""
    duration_s = samples / SAMPLE_RATE
    if machine.rattle_db <= OFF / 2:
        return np.zeros(samples, dtype=np.float32)
    count = max(1, round(machine.rattle_hz * duration_s))
    times_s = random.uniform(0, duration_s, count)
    return impulses(times_s, _uneven(random, count) * _height(machine.rattle_db, machine.rattle_hz), samples)


def rubbing(machine: Machine, turns: Values, random: np.random.Generator) -> Signal:
    """(T,) rough noise in bursts: a spot that touches once a turn, now more, now less."""
    samples = len(turns)
    if machine.rub_db <= OFF / 2:
        return np.zeros(samples, dtype=np.float32)
    noise = to_time(noise_spectrum(random, samples) * band_shape(2200.0, 1.0, samples), samples)
    contact = np.clip(np.cos(2 * np.pi * turns * min(1.0, 12 / machine.shaft_hz)), 0, None).astype(np.float32) ** 3
    pressure = np.interp(np.linspace(0, 1, samples), np.linspace(0, 1, 9), random.gamma(1.0, 1.0, 9))
    bursts = noise * contact * pressure.astype(np.float32)
    return bursts * np.float32(amplitude(machine.rub_db) / (np.sqrt(np.mean(bursts**2)) + 1e-9))


def cycle_starts(machine: Machine, random: np.random.Generator, samples: int) -> Values:
    """(N,) starts of the cycles that take place, in seconds."""
    count = int(samples / SAMPLE_RATE / machine.cycle_s) + 2
    in_turn = np.arange(count) - random.uniform(0, 1)
    starts_s: Values = machine.cycle_s * (in_turn + machine.cycle_jitter * random.standard_normal(count))
    takes_place = random.uniform(0, 1, count) >= machine.miss
    inside = (starts_s >= 0) & (starts_s < samples / SAMPLE_RATE)
    return starts_s[takes_place & inside]


def cycle_clicks(machine: Machine, streams: Streams, samples: int) -> Signal:
    """(T,) the impacts of every cycle."""
    starts_s = cycle_starts(machine, streams("cycle"), samples)
    times_s = starts_s[:, None] + machine.clicks_s
    uneven = np.exp(0.15 * streams("clicks").standard_normal(times_s.shape))
    heights = _height(machine.clicks_db, 1 / machine.cycle_s) * uneven
    return impulses(times_s.ravel(), heights.ravel(), samples)


def cycles_travel(machine: Machine, streams: Streams, samples: int) -> Signal:
    """(T,) noise from the first to the last click of each cycle."""
    gate = np.zeros(samples, dtype=np.float32)
    if machine.travel_db <= OFF / 2:
        return gate
    length = max(2, int(np.ptp(machine.clicks_s) * SAMPLE_RATE))
    window = np.sqrt(np.hanning(length + 2)[1:-1]).astype(np.float32)
    for start_s in cycle_starts(machine, streams("cycle"), samples):
        at = (int(start_s * SAMPLE_RATE) + np.arange(length)) % samples
        gate[at] += window
    noise = noise_spectrum(streams("travel"), samples) * band_shape(machine.travel_hz, 0.8, samples)
    share = np.mean(window**2) * length / SAMPLE_RATE / machine.cycle_s
    return to_time(noise, samples) * gate * np.float32(amplitude(machine.travel_db) / np.sqrt(share))


def _height(level_db: Values | float, rate_hz: float) -> Values:
    """Height of impulses that come rate_hz times a second and have this RMS behind a body of unit energy."""
    return np.asarray(amplitude(level_db) * np.sqrt(SAMPLE_RATE / rate_hz), dtype=np.float64)


def _uneven(random: np.random.Generator, count: int) -> Values:
    """(N,) heights around 1 that differ from strike to strike, of either sign."""
    sign = np.where(random.uniform(0, 1, count) < 0.5, -1.0, 1.0)
    return np.asarray(np.exp(0.3 * random.standard_normal(count)) * sign, dtype=np.float64)
