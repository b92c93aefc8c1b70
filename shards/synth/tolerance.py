"""How machines of one type differ (manufacture, mounting) and how one unit differs from hour to hour (load, speed)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shards.synth.machine import Machine, at_unit_power
from shards.synth.signals import Values


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the random differences: relative for frequencies, times, depths; dB for levels."""

    speed: float
    order_db: float
    part_db: float
    shape_db: float
    frequency: float
    quality: float
    timing: float
    depth: float


BETWEEN_UNITS = Spread(
    speed=0.06, order_db=4.0, part_db=3.5, shape_db=3.0, frequency=0.12, quality=0.25, timing=0.2, depth=0.3
)
IN_OPERATION = Spread(
    speed=0.01, order_db=1.0, part_db=1.2, shape_db=0.8, frequency=0.008, quality=0.05, timing=0.03, depth=0.1
)


def unit_of(nominal: Machine, random: np.random.Generator) -> Machine:
    """One machine from the production line, at a total of 0 dB."""
    return at_unit_power(vary(nominal, BETWEEN_UNITS, random))


def running(unit: Machine, random: np.random.Generator) -> Machine:
    """The unit as it runs during one clip: another load, temperature and speed."""
    return vary(unit, IN_OPERATION, random)


def vary(machine: Machine, spread: Spread, random: np.random.Generator) -> Machine:
    """Every parameter moved by its own draw; the number of draws does not depend on the values."""

    def near(value: Values, relative: float) -> Values:
        return value * np.exp(relative * random.standard_normal(np.shape(value)))

    def level(value: Values, sd_db: float) -> Values:
        return value + sd_db * random.standard_normal(np.shape(value))

    def scalar(value: float, relative: float) -> float:
        return float(value * np.exp(relative * random.standard_normal()))

    def scalar_db(value: float, sd_db: float) -> float:
        return float(value + sd_db * random.standard_normal())

    return replace(
        machine,
        shaft_hz=scalar(machine.shaft_hz, spread.speed),
        orders_db=level(machine.orders_db, spread.order_db),
        eccentricity=min(scalar(machine.eccentricity, spread.depth), 0.9),
        flow_db=scalar_db(machine.flow_db, spread.part_db),
        flow_shape_db=level(machine.flow_shape_db, spread.shape_db),
        flow_depth=min(scalar(machine.flow_depth, spread.depth), 0.9),
        hiss_db=scalar_db(machine.hiss_db, spread.part_db),
        hiss_hz=scalar(machine.hiss_hz, spread.frequency),
        bearing_db=scalar_db(machine.bearing_db, spread.part_db),
        bearing_order=scalar(machine.bearing_order, spread.frequency),
        bearing_depth=min(scalar(machine.bearing_depth, spread.depth), 0.9),
        cycle_s=scalar(machine.cycle_s, 0.5 * spread.timing),
        clicks_s=near(machine.clicks_s, spread.timing),
        clicks_db=level(machine.clicks_db, spread.part_db),
        travel_db=scalar_db(machine.travel_db, spread.part_db),
        travel_hz=scalar(machine.travel_hz, spread.frequency),
        modes_hz=near(machine.modes_hz, spread.frequency),
        modes_q=near(machine.modes_q, spread.quality),
        modes_db=level(machine.modes_db, spread.part_db),
    )
