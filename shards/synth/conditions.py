"""What the conditions of a clip do: to the machine (speed, load, mount) and around it (microphone, noise, its level).

A, B, C, … are places, halls and mounts of one section: what sets each apart is drawn once, from the factory's seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from shards.synth.domains import Setting
from shards.synth.machine import Machine
from shards.synth.signals import ANCHORS_HZ, Signal, Values, amplitude, smooth_shape

PATH_SD_DB = 5.0
DISTANCE_DB = 3.0
NOISE_SD_DB = 5.0
NOISE_GAIN_DB = 2.0
MOUNT_SD = 0.12
MOUNT_SD_DB = 4.0

Draw = Callable[[Setting], np.random.Generator]  # the generator that belongs to a place, a hall, a mount


def operated(machine: Machine, chosen: tuple[Setting, ...], draw: Draw) -> Machine:
    """The machine at the speed, under the load and on the mount that were chosen."""
    for setting in chosen:
        if setting.kind in _ON_MACHINE:
            machine = _ON_MACHINE[setting.kind](machine, setting.size, draw(setting))
    return machine


def at_speed(machine: Machine, ratio: float, random: np.random.Generator) -> Machine:
    """Everything turns and strikes at this ratio of the rated speed.

    Imbalance forces grow with its square, impacts and travel in proportion; aerodynamic noise has the power of the
    fifth (50 dB a decade).
    """
    decades = float(np.log10(ratio))
    return replace(
        machine,
        shaft_hz=machine.shaft_hz * ratio,
        orders_db=machine.orders_db + 40 * decades,
        flow_db=machine.flow_db + 50 * decades,
        hiss_db=machine.hiss_db + 50 * decades,
        bearing_db=machine.bearing_db + 20 * decades,
        cycle_s=machine.cycle_s / ratio,
        clicks_s=machine.clicks_s / ratio,
        clicks_db=machine.clicks_db + 20 * decades,
        travel_db=machine.travel_db + 20 * decades,
        travel_hz=machine.travel_hz * ratio,
    )


def under_load(machine: Machine, departure: float, random: np.random.Generator) -> Machine:
    """More or less than the usual load: tones, flow and impacts rise with it, the shaft slips, mass lowers modes."""
    return replace(
        machine,
        shaft_hz=machine.shaft_hz * (1 - 0.03 * departure),
        orders_db=machine.orders_db + 5 * departure,
        flow_db=machine.flow_db + 2 * departure,
        bearing_db=machine.bearing_db + 4 * departure,
        clicks_s=machine.clicks_s * (1 + 0.08 * departure),
        clicks_db=machine.clicks_db + 3 * departure,
        travel_db=machine.travel_db + 4 * departure,
        modes_hz=machine.modes_hz * (1 - 0.05 * departure),
        modes_q=machine.modes_q * (1 - 0.15 * departure),
    )


def mounted(machine: Machine, departure: float, random: np.random.Generator) -> Machine:
    """On another base plate: stiffness moves the resonances, and how well each is coupled."""
    modes = len(machine.modes_hz)
    return replace(
        machine,
        modes_hz=machine.modes_hz * np.exp(departure * MOUNT_SD * random.standard_normal(modes)),
        modes_db=machine.modes_db + departure * MOUNT_SD_DB * random.standard_normal(modes),
        flow_shape_db=machine.flow_shape_db + departure * MOUNT_SD_DB * random.standard_normal(len(ANCHORS_HZ)),
    )


_ON_MACHINE = {"speed": at_speed, "load": under_load, "mount": mounted}


@dataclass(frozen=True)
class Surroundings:
    """The way to the microphone and the rest of the hall, as a section's conditions have them."""

    path_db: Values | None = None  # (P,) colour of the way at the anchors
    path_gain_db: float = 0.0
    noise_db: Values | None = None  # (P,) colour of the hall's noise at the anchors
    snr_db: float = 0.0  # added to the ratio of machine to noise

    def path(self, samples: int) -> Signal | np.float32:
        """(K,) factor on the machine's spectrum."""
        return _colour(self.path_db, samples) * np.float32(amplitude(self.path_gain_db))

    def noise(self, samples: int) -> Signal | np.float32:
        """(K,) factor on the noise's spectrum."""
        return _colour(self.noise_db, samples)


def _colour(anchors_db: Values | None, samples: int) -> Signal | np.float32:
    return np.float32(1) if anchors_db is None else smooth_shape(anchors_db, samples)


def surroundings(chosen: tuple[Setting, ...], draw: Draw) -> Surroundings:
    """What the chosen microphone position, noise and noise level make of the plain hall."""
    around = Surroundings()
    for setting in chosen:
        if setting.kind == "snr":
            around = replace(around, snr_db=setting.size)
        elif setting.kind == "noise":
            colour = _departure_db(setting, NOISE_SD_DB, draw(setting))
            around = replace(around, noise_db=colour, snr_db=-NOISE_GAIN_DB * setting.size)
        elif setting.kind == "microphone":
            colour = _departure_db(setting, PATH_SD_DB, draw(setting))
            around = replace(around, path_db=colour, path_gain_db=-DISTANCE_DB * setting.size)
    return around


def _departure_db(setting: Setting, sd_db: float, random: np.random.Generator) -> Values:
    """(P,) a smooth colour that departs from flat by about so many dB."""
    return setting.size * sd_db * random.standard_normal(len(ANCHORS_HZ))
