"""What conditions do to machines and halls; gears and bearings as their kinematics have them."""

from dataclasses import replace

import numpy as np
import pytest

from shards.synth.clip import Clip, unit
from shards.synth.conditions import at_speed, operated, surroundings
from shards.synth.domains import DOMAINS, KINDS, NUM_SECTIONS, settings, shifted_kind
from shards.synth.faults import bearing, inner_race, rolling_element
from shards.synth.layouts import path_2022
from shards.synth.machine import power
from shards.synth.nominal import NOMINAL, Machine
from shards.synth.signals import SAMPLE_RATE
from shards.synth.sound import shaft_turns, tones


def test_speed_moves_the_tones_of_the_machine():
    """The strongest line of a machine with one tone, measured, lies at the ratio of the speeds."""
    machine = replace(NOMINAL["gearbox"], orders_db=np.array([*[-90.0] * 19, 0.0]), eccentricity=0.0)
    peaks_hz = [strongest_hz(at_speed(machine, ratio, np.random.default_rng(0))) for ratio in (1.0, 0.85)]
    assert peaks_hz[0] == pytest.approx(20 * NOMINAL["gearbox"].shaft_hz, rel=0.01)
    assert peaks_hz[1] / peaks_hz[0] == pytest.approx(0.85, rel=0.01)


def strongest_hz(machine: Machine) -> float:
    samples = 4 * SAMPLE_RATE
    turns = shaft_turns(machine, np.random.default_rng(1), samples)
    spectrum = np.abs(np.fft.rfft(tones(machine, turns, np.random.default_rng(2)) * np.hanning(samples)))
    return float(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)[spectrum.argmax()])


def test_the_target_domain_changes_the_machine_or_its_surroundings():
    on_machine = {"speed", "load", "mount"}
    for section in range(NUM_SECTIONS):
        clips = [Clip(0, "fan", section, "train", 0, domain) for domain in DOMAINS]
        machines = [operated(unit(0, "fan", section), clip.settings[:1], clip.place) for clip in clips]
        halls = [surroundings(clip.settings[:1], clip.place) for clip in clips]
        same_machine = machines[0].shaft_hz == machines[1].shaft_hz and all(
            np.array_equal(getattr(machines[0], name), getattr(machines[1], name)) for name in ("modes_hz", "orders_db")
        )
        same_hall = all(np.array_equal(hall.path(8000), halls[0].path(8000)) for hall in halls) and all(
            np.array_equal(hall.noise(8000), halls[0].noise(8000)) and hall.snr_db == halls[0].snr_db for hall in halls
        )
        moves_machine = shifted_kind("fan", section) in on_machine
        assert (same_machine, same_hall) == (not moves_machine, moves_machine)


def test_a_place_is_the_same_for_all_clips_of_a_section():
    """Microphone position C is one position: its colour does not depend on the clip, only on section and seed."""
    section = next(s for s in range(NUM_SECTIONS) if shifted_kind("fan", s) == "microphone")
    clips = [Clip(0, "fan", section, role, index, "target") for role in ("train", "anomaly") for index in (0, 3)]
    assert {path_2022(clip).split("_loc_")[1][0] for clip in clips} == {"C"}
    paths = [surroundings(clip.settings, clip.place).path(8000) for clip in clips]
    assert all(np.array_equal(path, paths[0]) for path in paths)
    other = replace(clips[0], seed=1)
    assert not np.array_equal(surroundings(other.settings, other.place).path(8000), paths[0])


def test_load_and_speed_make_a_machine_louder():
    loud = {size: power(operated_alone("load", size)) for size in (-0.7, 0.0, 0.1)}
    assert loud[-0.7] < loud[0.0] < loud[0.1]
    assert power(operated_alone("speed", 0.85)) < power(operated_alone("speed", 1.12))


def operated_alone(kind: str, size: float) -> Machine:
    named = {**KINDS[kind].source, **KINDS[kind].target}
    name = next(name for name, value in named.items() if value == size)
    setting = next(
        setting
        for section in range(NUM_SECTIONS) for domain in DOMAINS for index in range(6)
        for setting in settings("gearbox", section, domain, index) if (setting.kind, setting.name) == (kind, name)
    )  # fmt: skip
    return operated(NOMINAL["gearbox"], (setting,), lambda _: np.random.default_rng(0))


def test_defects_of_a_bearing_strike_at_their_kinematic_orders():
    """N = 9 balls, d / D = 0.2: outer N/2 (1 - d/D), inner N/2 (1 + d/D), ball twice its spin D/2d (1 - (d/D)²)."""
    balls, ratio = 9, 0.2
    orders = {
        bearing: balls / 2 * (1 - ratio),
        inner_race: balls / 2 * (1 + ratio),
        rolling_element: 2 / (2 * ratio) * (1 - ratio**2),
    }
    for fault, order in orders.items():
        assert fault(NOMINAL["bearing"], 0.5, np.random.default_rng(0)).bearing_order == pytest.approx(order)


def test_gear_mesh_stands_out_with_side_bands():
    orders_db = NOMINAL["gearbox"].orders_db
    for mesh in (20, 40):  # 20 teeth on the shaft
        assert orders_db[mesh - 1] > max(orders_db[mesh - 4 : mesh - 1]) + 5
        assert min(orders_db[mesh - 2], orders_db[mesh]) > orders_db[mesh + 1] + 5
