"""The machine types of DCASE 2020 to 2022 Task 2 as they are on the drawing board; units differ from these.

Speeds, blade counts, tooth counts and ball pass orders are those of ordinary machines of the kind (4-pole and 2-pole
motors, 5 to 7 blades, solenoid valves, a slide rail, toy motors with gears, a two-stage gearbox, a bearing test rig).
"""

from __future__ import annotations

import numpy as np

from shards.synth.machine import OFF, Machine
from shards.synth.signals import ANCHORS_HZ, Values

NUM_ORDERS = 60


def _orders(levels_db: dict[int, float], roll_off_db: float) -> Values:
    """(O,) levels of shaft orders: the named ones, over a floor of weak orders that falls by roll_off_db an octave."""
    orders = -26.0 - roll_off_db * np.log2(np.arange(1, NUM_ORDERS + 1))
    for order, level_db in levels_db.items():
        orders[order - 1] = level_db
    return orders


def _shape(peak_hz: float, low_db: float, high_db: float) -> Values:
    """(P,) spectrum that falls by low_db an octave below its peak and by high_db an octave above."""
    octaves = np.log2(ANCHORS_HZ / peak_hz)
    return np.where(octaves < 0, low_db * octaves, -high_db * octaves)


def _blades(count: int, first_db: float) -> dict[int, float]:
    """Blade passing tone and its harmonics, each 5 dB below the one before."""
    return {count * k: first_db - 5.0 * (k - 1) for k in range(1, 6)}


def _mesh(teeth: int, first_db: float) -> dict[int, float]:
    """Gear mesh tone and its harmonics, each 4 dB below the one before, between side bands one shaft order away."""
    tones = {teeth * k: first_db - 4.0 * (k - 1) for k in range(1, NUM_ORDERS // teeth + 1)}
    sides = {order + side: level_db - 10.0 for order, level_db in tones.items() for side in (-1, 1)}
    return {order: level_db for order, level_db in (sides | tones).items() if order <= NUM_ORDERS}


NOMINAL: dict[str, Machine] = {
    "ToyCar": Machine(
        shaft_hz=95.0,
        orders_db=_orders({1: -9.0, 2: -11.0, 3: -14.0, 4: -15.0, **_blades(10, -8.0)}, 2.0),
        eccentricity=0.2,
        flow_db=-6.0,
        flow_shape_db=_shape(1500.0, 3.0, 4.0),
        flow_order=1.0,
        flow_depth=0.3,
        hiss_db=-11.0,
        hiss_hz=4500.0,
        bearing_db=-10.0,
        bearing_order=0.31,
        bearing_depth=0.3,
        cycle_s=0.37,
        cycle_jitter=0.02,
        miss=0.0,
        clicks_s=np.array([0.0, 0.11]),
        clicks_db=np.array([-18.0, -22.0]),
        travel_db=OFF,
        travel_hz=2000.0,
        modes_hz=np.array([420.0, 980.0, 2300.0, 3900.0]),
        modes_q=np.array([12.0, 18.0, 25.0, 25.0]),
        modes_db=np.array([0.0, 0.0, 0.0, -3.0]),
    ),
    "ToyConveyor": Machine(
        shaft_hz=62.0,
        orders_db=_orders({1: -10.0, 2: -10.0, 3: -16.0, **_blades(8, -12.0)}, 2.0),
        eccentricity=0.15,
        flow_db=-5.0,
        flow_shape_db=_shape(700.0, 3.0, 4.0),
        flow_order=0.25,
        flow_depth=0.3,
        hiss_db=-13.0,
        hiss_hz=3200.0,
        bearing_db=-9.0,
        bearing_order=0.42,
        bearing_depth=0.4,
        cycle_s=0.62,
        cycle_jitter=0.03,
        miss=0.0,
        clicks_s=np.array([0.0, 0.16]),
        clicks_db=np.array([-12.0, -15.0]),
        travel_db=OFF,
        travel_hz=1500.0,
        modes_hz=np.array([260.0, 640.0, 1500.0, 3100.0]),
        modes_q=np.array([10.0, 14.0, 18.0, 22.0]),
        modes_db=np.array([0.0, 0.0, -2.0, -3.0]),
    ),
    "fan": Machine(
        shaft_hz=24.5,
        orders_db=_orders({1: -11.0, 2: -15.0, **_blades(7, -8.0)}, 2.5),
        eccentricity=0.15,
        flow_db=-3.0,
        flow_shape_db=_shape(400.0, 2.0, 3.5),
        flow_order=7.0,
        flow_depth=0.35,
        hiss_db=-16.0,
        hiss_hz=2800.0,
        bearing_db=-13.0,
        bearing_order=3.06,
        bearing_depth=0.4,
        cycle_s=1.0,
        cycle_jitter=0.0,
        miss=0.0,
        clicks_s=np.array([0.0]),
        clicks_db=np.array([OFF]),
        travel_db=OFF,
        travel_hz=1000.0,
        modes_hz=np.array([180.0, 520.0, 1250.0, 2900.0]),
        modes_q=np.array([8.0, 12.0, 18.0, 20.0]),
        modes_db=np.array([0.0, 0.0, -2.0, -4.0]),
    ),
    "pump": Machine(
        shaft_hz=48.5,
        orders_db=_orders({1: -12.0, 2: -9.0, 4: -15.0, **_blades(6, -7.0)}, 2.0),
        eccentricity=0.15,
        flow_db=-5.0,
        flow_shape_db=_shape(1100.0, 2.5, 3.0),
        flow_order=6.0,
        flow_depth=0.4,
        hiss_db=-12.0,
        hiss_hz=5000.0,
        bearing_db=-11.0,
        bearing_order=3.58,
        bearing_depth=0.4,
        cycle_s=1.0,
        cycle_jitter=0.0,
        miss=0.0,
        clicks_s=np.array([0.0]),
        clicks_db=np.array([OFF]),
        travel_db=OFF,
        travel_hz=1000.0,
        modes_hz=np.array([310.0, 860.0, 1900.0, 3600.0]),
        modes_q=np.array([12.0, 16.0, 20.0, 22.0]),
        modes_db=np.array([0.0, 0.0, 0.0, -2.0]),
    ),
    "slider": Machine(
        shaft_hz=33.0,
        orders_db=_orders({1: -16.0, 2: -15.0, 3: -18.0, **_blades(12, -13.0)}, 2.0),
        eccentricity=0.2,
        flow_db=-9.0,
        flow_shape_db=_shape(900.0, 3.0, 4.0),
        flow_order=1.0,
        flow_depth=0.2,
        hiss_db=-16.0,
        hiss_hz=4000.0,
        bearing_db=-14.0,
        bearing_order=2.4,
        bearing_depth=0.3,
        cycle_s=0.55,
        cycle_jitter=0.03,
        miss=0.0,
        clicks_s=np.array([0.0, 0.19, 0.25]),
        clicks_db=np.array([-10.0, -7.0, -12.0]),
        travel_db=-4.0,
        travel_hz=1800.0,
        modes_hz=np.array([380.0, 1150.0, 2400.0, 4200.0]),
        modes_q=np.array([14.0, 20.0, 25.0, 28.0]),
        modes_db=np.array([0.0, 0.0, 0.0, 0.0]),
    ),
    "valve": Machine(
        shaft_hz=50.0,
        orders_db=_orders({2: -12.0, 4: -16.0, 6: -20.0}, 3.0),
        eccentricity=0.05,
        flow_db=-10.0,
        flow_shape_db=_shape(1600.0, 3.0, 3.0),
        flow_order=2.0,
        flow_depth=0.1,
        hiss_db=-13.0,
        hiss_hz=5200.0,
        bearing_db=OFF,
        bearing_order=1.0,
        bearing_depth=0.0,
        cycle_s=0.42,
        cycle_jitter=0.04,
        miss=0.0,
        clicks_s=np.array([0.0, 0.03, 0.14]),
        clicks_db=np.array([-5.0, -10.0, -8.0]),
        travel_db=-8.0,
        travel_hz=3000.0,
        modes_hz=np.array([650.0, 1700.0, 3300.0, 5400.0]),
        modes_q=np.array([18.0, 25.0, 30.0, 30.0]),
        modes_db=np.array([0.0, 0.0, 0.0, 0.0]),
    ),
    "gearbox": Machine(
        shaft_hz=42.0,
        # 20 teeth on the motor's shaft; the next stage's 15 on a shaft of a third of its speed mesh at order 5.
        orders_db=_orders({1: -14.0, 2: -18.0, **_mesh(5, -13.0), **_mesh(20, -6.0)}, 1.5),
        eccentricity=0.25,
        flow_db=-8.0,
        flow_shape_db=_shape(800.0, 3.0, 4.0),
        flow_order=1.0,
        flow_depth=0.2,
        hiss_db=-16.0,
        hiss_hz=3600.0,
        bearing_db=-12.0,
        bearing_order=3.05,
        bearing_depth=0.4,
        cycle_s=1.0,
        cycle_jitter=0.0,
        miss=0.0,
        clicks_s=np.array([0.0]),
        clicks_db=np.array([OFF]),
        travel_db=OFF,
        travel_hz=1000.0,
        modes_hz=np.array([340.0, 920.0, 2100.0, 3800.0]),
        modes_q=np.array([12.0, 18.0, 22.0, 25.0]),
        modes_db=np.array([0.0, 0.0, 0.0, -2.0]),
    ),
    "bearing": Machine(
        shaft_hz=30.0,
        orders_db=_orders({1: -10.0, 2: -12.0, 3: -17.0, 4: -19.0}, 2.5),
        eccentricity=0.1,
        flow_db=-4.0,
        flow_shape_db=_shape(1800.0, 2.5, 3.0),
        flow_order=1.0,
        flow_depth=0.15,
        hiss_db=-13.0,
        hiss_hz=4600.0,
        bearing_db=-12.0,
        bearing_order=3.6,  # 9 balls of a fifth of the pitch diameter: 9 / 2 · (1 - 0.2)
        bearing_depth=0.3,
        cycle_s=1.0,
        cycle_jitter=0.0,
        miss=0.0,
        clicks_s=np.array([0.0]),
        clicks_db=np.array([OFF]),
        travel_db=OFF,
        travel_hz=1000.0,
        modes_hz=np.array([480.0, 1400.0, 2800.0, 4700.0]),
        modes_q=np.array([12.0, 18.0, 24.0, 26.0]),
        modes_db=np.array([-2.0, 0.0, 0.0, 0.0]),
    ),
    "ToyTrain": Machine(
        shaft_hz=78.0,
        orders_db=_orders({1: -11.0, 2: -12.0, 3: -15.0, **_mesh(9, -9.0)}, 2.0),
        eccentricity=0.2,
        flow_db=-5.0,
        flow_shape_db=_shape(1000.0, 3.0, 3.5),
        flow_order=0.2,
        flow_depth=0.3,
        hiss_db=-13.0,
        hiss_hz=4000.0,
        bearing_db=-13.0,
        bearing_order=0.36,
        bearing_depth=0.3,
        cycle_s=0.52,  # from rail joint to rail joint: two axles of either bogie strike each
        cycle_jitter=0.02,
        miss=0.0,
        clicks_s=np.array([0.0, 0.05, 0.21, 0.26]),
        clicks_db=np.array([-13.0, -13.0, -14.0, -14.0]),
        travel_db=OFF,
        travel_hz=1500.0,
        modes_hz=np.array([330.0, 870.0, 2000.0, 3500.0]),
        modes_q=np.array([10.0, 15.0, 20.0, 24.0]),
        modes_db=np.array([0.0, 0.0, -1.0, -3.0]),
    ),
}
TYPES = tuple(NOMINAL)  # the random draws of a type depend on its place: new ones go to the end
