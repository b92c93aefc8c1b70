"""Source and target: which conditions a section knows in training, and which it meets later.

Every section shifts one kind of condition, as in DCASE 2021 and 2022 Task 2: its target values do not occur in its
source domain. A second kind takes the same values in both, so that not every difference is a domain.
"""

from __future__ import annotations

from dataclasses import dataclass

from shards.synth.nominal import TYPES

DOMAINS = ("source", "target")
NUM_SECTIONS = 6  # 00 to 02 stand for the development set, 03 to 05 for the evaluation set


@dataclass(frozen=True)
class Setting:
    """One value of one kind of condition: its name in the attributes, and its size."""

    kind: str
    name: str
    size: float


@dataclass(frozen=True)
class Kind:
    """One kind of condition: what it is called in file names, and the values of either domain."""

    key: str  # in 2022's attributes
    text: str  # in 2021's free text
    toy_text: str  # in 2021's, of the toys
    source: dict[str, float]
    target: dict[str, float]


# Sizes are what conditions.py makes of them. Set in three rounds on seeds 0 to 2, six sections of eight types,
# 37 + 3 training and 20 + 20 test clips of 2 s per domain, so that the distance to the nearest training clip in mean
# log-mel spectra loses 5 to 20 points of AUC: within a domain it has 0.65 in the source and 0.585 in the target; with
# the normal clips of a domain against all anomalies, 0.69 and 0.53. Seed 3, kept aside: 0.65 and 0.58, 0.695 and 0.53.
# Given 300 normal clips of the target, the Mahalanobis distance of level-free spectra finds its anomalies with 0.72
# (eight of the sections, seeds 0 and 1).
KINDS = {
    "speed": Kind(  # ratio to the rated speed
        key="vel",
        text="{}_x",
        toy_text="Spd{}",
        source={"0.96": 0.96, "1.0": 1.0, "1.04": 1.04},
        target={"0.85": 0.85, "0.9": 0.9, "1.12": 1.12},
    ),
    "load": Kind(  # departure from the usual load, as a share of the full one
        key="wt",
        text="{}_pct",
        toy_text="Load{}",
        source={"70": -0.1, "80": 0.0, "90": 0.1},
        target={"10": -0.7, "30": -0.5, "50": -0.3},
    ),
    "microphone": Kind(  # how far the way of the sound departs from the mean one
        key="loc",
        text="at_{}",
        toy_text="Mic{}",
        source={"A": 0.25, "B": 0.25},
        target={"C": 0.5, "D": 0.75, "E": 1.0},
    ),
    "noise": Kind(  # how far its colour and level depart from the mean ones
        key="f-n",
        text="{}_ambient",
        toy_text="Bckg{}",
        source={"A": 0.25, "B": 0.25},
        target={"C": 0.5, "D": 0.75, "E": 1.0},
    ),
    "snr": Kind(  # dB added to the ratio of machine to noise
        key="n-lv",
        text="noise_{}",
        toy_text="Noise{}",
        source={"L1": 2.0, "L2": 1.0},
        target={"L3": -1.5, "L4": -3.0, "L5": -4.5},
    ),
    "mount": Kind(  # how far its stiffness departs from the mean one
        key="pan",
        text="panel_{}",
        toy_text="Track{}",
        source={"A": 0.25, "B": 0.25},
        target={"C": 0.5, "D": 0.75, "E": 1.0},
    ),
}
_NAMES = tuple(KINDS)


def shifted_kind(machine_type: str, section: int) -> str:
    """The kind of condition that tells the section's domains apart; six sections of a type shift all six."""
    return _NAMES[(TYPES.index(machine_type) + section) % len(_NAMES)]


def common_kind(machine_type: str, section: int) -> str:
    """The kind of condition that varies in the section, but in both domains alike."""
    return _NAMES[(TYPES.index(machine_type) + section + 3) % len(_NAMES)]


def settings(machine_type: str, section: int, domain: str, index: int) -> tuple[Setting, Setting]:
    """The conditions of the index-th clip of a domain, the shifted kind first: all pairs of values in turn."""
    shifted, common = shifted_kind(machine_type, section), common_kind(machine_type, section)
    values = KINDS[shifted].source if domain == "source" else KINDS[shifted].target
    return _nth(shifted, values, index), _nth(common, KINDS[common].source, index // len(values))


def _nth(kind: str, values: dict[str, float], index: int) -> Setting:
    name = list(values)[index % len(values)]
    return Setting(kind, name, values[name])


def attributes(chosen: tuple[Setting, ...]) -> list[tuple[str, str]]:
    """Keys and values as in the attributes_SS.csv of 2022."""
    return [(KINDS[setting.kind].key, setting.name) for setting in chosen]


def free_text(machine_type: str, chosen: tuple[Setting, ...]) -> str:
    """What the file names of 2021 say of the conditions: no keys and values one could split."""
    if machine_type.startswith("Toy"):
        return "".join(KINDS[setting.kind].toy_text.format(setting.name) for setting in chosen)
    return "_".join(KINDS[setting.kind].text.format(setting.name) for setting in chosen)
