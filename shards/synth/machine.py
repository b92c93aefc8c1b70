"""What one machine is: the parameters from which its sound follows.

O shaft orders, M modes of the body, C clicks in a cycle, P anchors of a smooth spectrum. Levels are RMS in dB relative
to the whole healthy machine; OFF stands for a part that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shards.synth.signals import Values

OFF = -90.0


@dataclass(frozen=True)
class Machine:
    """One machine in one state. Every field is a quantity one could measure on it."""

    shaft_hz: float  # speed of the driving shaft
    orders_db: Values  # (O,) tones at 1, 2, … times the shaft speed: imbalance, blade passing, gear mesh, hum
    eccentricity: float  # depth of the once-per-turn modulation of the tones (side bands), 0 to 1
    flow_db: float  # flow, turbulence and rolling noise
    flow_shape_db: Values  # (P,) its spectrum at the anchors
    flow_order: float  # blade passing order which modulates it
    flow_depth: float  # depth of that modulation, 0 to 1
    hiss_db: float  # narrow jet or brush noise
    hiss_hz: float
    bearing_db: float  # impulses of a rolling element passing a spot, through the body
    bearing_order: float  # how many a turn (ball pass order)
    bearing_depth: float  # modulation of their heights by the cage, 0 to 1
    cycle_s: float  # actuation or belt period
    cycle_jitter: float  # its irregularity, relative
    miss: float  # share of the cycles left out
    clicks_s: Values  # (C,) when in the cycle something hits
    clicks_db: Values  # (C,) how loud each is; the first to the last click is the travel
    travel_db: float  # noise while the actuator travels
    travel_hz: float
    modes_hz: Values  # (M,) resonances of body and mount
    modes_q: Values  # (M,) their quality factors: high rings long
    modes_db: Values  # (M,) their weights
    rattle_db: float = OFF  # irregular impacts of a loose part
    rattle_hz: float = 20.0  # how many a second
    rub_db: float = OFF  # rubbing: rough bursts once a turn or so


LEVELS = ("orders_db", "flow_db", "hiss_db", "bearing_db", "clicks_db", "travel_db")


def power(machine: Machine) -> float:
    """Expected mean square of the machine's parts together, 1 for 0 dB."""
    return float(sum(np.sum(10.0 ** (np.asarray(getattr(machine, name)) / 10)) for name in LEVELS))


def at_unit_power(machine: Machine) -> Machine:
    """The same balance with a total of 0 dB."""
    total_db = 10 * np.log10(power(machine))
    return replace(machine, **{name: getattr(machine, name) - total_db for name in LEVELS})
