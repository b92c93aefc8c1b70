"""What goes wrong in machines: each fault moves the physical quantities that such damage moves.

A fault takes a machine, a severity from 0 (just begun) to 1 (about to fail) and a generator; it returns the damaged
machine. Damage that adds sound also changes stiffness or mass, hence the natural frequencies (the basis of vibration
monitoring: Salawu 1997, Detection of structural damage through changes in frequency). The quantities are those in which
healthy units differ from each other, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from shards.synth.machine import Machine
from shards.synth.signals import Values

Fault = Callable[[Machine, float, np.random.Generator], Machine]


def _either(random: np.random.Generator) -> float:
    return 1.0 if random.random() < 0.5 else -1.0


def _detuned(machine: Machine, share: float, random: np.random.Generator) -> Values:
    """(M,) resonances raised by about this share, each by its own part of it."""
    return machine.modes_hz * (1 + share * random.uniform(0.4, 1.6, len(machine.modes_hz)))


def imbalance(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """Mass off the axis: the first orders rise and modulate the others, the heavier rotor is slower and rings lower."""
    orders = machine.orders_db.copy()
    orders[:3] = np.maximum(orders[:3], -24.0) + (4 + 6 * severity) * np.array([1.0, 0.6, 0.3])
    return replace(
        machine,
        orders_db=orders,
        eccentricity=min(0.9, machine.eccentricity + 0.1 + 0.4 * severity),
        shaft_hz=machine.shaft_hz * (1 - 0.01 - 0.03 * severity),
        modes_hz=_detuned(machine, -0.015 - 0.03 * severity, random),
    )


def bearing(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """A spall in the outer race: every ball that passes strikes the housing, and play makes the seat softer."""
    return replace(
        machine,
        bearing_db=max(machine.bearing_db, -16.0) + 2 + 6 * severity,
        bearing_depth=min(0.9, machine.bearing_depth + 0.3 * severity),
        modes_hz=_detuned(machine, -0.015 - 0.04 * severity, random),
    )


def inner_race(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """A spall in the inner race: more strikes a turn, loud only while the spot passes the loaded zone.

    With balls of a fifth of the pitch diameter the inner ball pass order is 1.2 / 0.8 of the outer one.
    """
    worn = bearing(machine, severity, random)
    return replace(worn, bearing_order=1.5 * machine.bearing_order, bearing_depth=min(0.9, worn.bearing_depth + 0.4))


def rolling_element(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """A spall in a ball: it strikes both races in every spin, and swells as the cage carries it round.

    Twice the spin order is (1 - 0.2²) / 0.2, the outer ball pass order of nine balls 3.6: their ratio is 4 / 3.
    """
    worn = bearing(machine, severity, random)
    return replace(worn, bearing_order=4 / 3 * machine.bearing_order, bearing_depth=min(0.9, worn.bearing_depth + 0.4))


def leak(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """A jet through a gap: hiss rises, the higher the narrower the gap; less pressure loads the body less."""
    hz = machine.hiss_hz * (1 + _either(random) * (0.08 + 0.17 * severity))
    return replace(
        machine,
        hiss_db=machine.hiss_db + 3 + 6 * severity,
        hiss_hz=min(hz, 7000.0),
        shaft_hz=machine.shaft_hz * (1 + 0.01 + 0.02 * severity),
        modes_hz=_detuned(machine, 0.015 + 0.03 * severity, random),
    )


def clogging(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """A blocked inlet: the flow separates, its noise moves down and pulsates; deposits load rotor and casing."""
    tilt_db = -np.linspace(-1, 1, len(machine.flow_shape_db)) * (3 + 5 * severity)
    return replace(
        machine,
        flow_shape_db=machine.flow_shape_db + tilt_db,
        flow_depth=min(0.9, machine.flow_depth + 0.1 + 0.3 * severity),
        shaft_hz=machine.shaft_hz * (1 - 0.015 - 0.03 * severity),
        modes_hz=_detuned(machine, -0.015 - 0.03 * severity, random),
    )


def voltage(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """A wrong supply: the motor turns too fast or too slow."""
    return replace(machine, shaft_hz=machine.shaft_hz * (1 + _either(random) * (0.04 + 0.08 * severity)))


def contamination(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """Dirt between moving parts: rough rubbing, and deposits that damp and detune the body."""
    return replace(
        machine,
        rub_db=-15 + 8 * severity,
        modes_q=machine.modes_q * (1 - 0.15 - 0.35 * severity),
        modes_hz=_detuned(machine, -0.015 - 0.035 * severity, random),
    )


def loose(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """A loose screw: a part rattles, and the mount is softer, so its resonances fall."""
    return replace(
        machine,
        rattle_db=-16 + 8 * severity,
        rattle_hz=float(random.uniform(8, 40)),
        modes_hz=_detuned(machine, -0.03 - 0.05 * severity, random),
    )


def gear_wear(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """Worn teeth: the balance of the mesh tones changes and their side bands grow."""
    orders = machine.orders_db.copy()
    orders[3:] += (3 + 4 * severity) * random.standard_normal(len(orders) - 3)
    return replace(
        machine,
        orders_db=orders,
        eccentricity=min(0.9, machine.eccentricity + 0.2 + 0.4 * severity),
        modes_hz=_detuned(machine, -0.015 - 0.03 * severity, random),
    )


def missed_strokes(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """An actuator that sticks: some strokes fail, the others break away late."""
    late = machine.clicks_s + (0.01 + 0.03 * severity) * (np.arange(len(machine.clicks_s)) > 0)
    return replace(
        machine,
        miss=0.2 + 0.4 * severity,
        clicks_s=late,
        modes_hz=_detuned(machine, -0.01 - 0.03 * severity, random),
    )


def irregular(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """A controller out of step: the cycle has another period and hunts around it, the strokes have another speed."""
    ratio = 1 + _either(random) * (0.12 + 0.25 * severity)
    return replace(
        machine,
        cycle_s=machine.cycle_s * ratio,
        clicks_s=machine.clicks_s * ratio,
        cycle_jitter=machine.cycle_jitter + 0.04 + 0.1 * severity,
        travel_hz=machine.travel_hz / ratio,
    )


def sluggish(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """A weak spring or no grease: the travel takes longer and grates, the impact at its end is softer."""
    return replace(
        machine,
        clicks_s=machine.clicks_s * (1.2 + 0.5 * severity),
        clicks_db=machine.clicks_db - 2 * severity,
        travel_db=machine.travel_db + 2 + 6 * severity,
        travel_hz=machine.travel_hz * (1.1 + 0.3 * severity),
        modes_q=machine.modes_q * (1 - 0.1 - 0.2 * severity),
    )


def hard_stops(machine: Machine, severity: float, random: np.random.Generator) -> Machine:
    """A worn buffer or belt joint: the impacts are harder and shorter, the contact stiffer and less damped."""
    brighter_db = np.linspace(-1, 1, len(machine.modes_db)) * (2 + 4 * severity)
    return replace(
        machine,
        clicks_db=machine.clicks_db + 1 + 5 * severity,
        modes_db=machine.modes_db + brighter_db,
        modes_q=machine.modes_q * (1.1 + 0.4 * severity),
        modes_hz=_detuned(machine, 0.015 + 0.03 * severity, random),
    )


FAULTS: dict[str, tuple[Fault, ...]] = {
    "ToyCar": (imbalance, bearing, voltage, loose, gear_wear, contamination),
    "ToyConveyor": (bearing, voltage, loose, contamination, hard_stops, gear_wear),
    "fan": (imbalance, bearing, clogging, voltage, loose, contamination),
    "pump": (imbalance, bearing, leak, clogging, contamination, loose),
    "slider": (missed_strokes, irregular, sluggish, hard_stops, loose, contamination),
    "valve": (missed_strokes, irregular, sluggish, leak, contamination, hard_stops),
    "gearbox": (gear_wear, bearing, imbalance, voltage, loose, contamination),
    "bearing": (bearing, inner_race, rolling_element, imbalance, loose, contamination),
    "ToyTrain": (bearing, voltage, loose, contamination, hard_stops, gear_wear),
}
