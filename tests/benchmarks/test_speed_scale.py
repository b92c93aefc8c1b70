"""The page on scale: its formulas against numbers worked out by hand, and a tiny run end to end."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks.speed import scale
from benchmarks.speed.part import Part, load, save
from benchmarks.speed.scale import inputs, tables
from benchmarks.speed.scale.inputs import Figures
from benchmarks.speed.scale.measured import gloo_s, plan_s
from benchmarks.speed.scale.model import (
    Job,
    Link,
    Network,
    all_reduce_s,
    cores_per_node,
    efficiency,
    exposed_s,
    read_gb_per_s,
    ring_s,
    save_every_s,
    trees_s,
)

LINK = Link("a GB a second, a millisecond a message", 1.0, 1000.0)
FREE = Link("nothing costs", 1e12, 0.0)
SMALL = Network("small", "none", 1_000_000, 6_400.0, 128)  # 4 MB; 10 ms a step
LARGE = Network("large", "none", 100_000_000, 6_400.0, 128)  # 400 MB


def test_a_ring_and_trees_send_what_the_formulas_say() -> None:
    assert ring_s(8e9, 4, LINK) == pytest.approx(8 * 2 * 3 / 4 + 6e-3)
    assert ring_s(8e9, 1, LINK) == trees_s(8e9, 1, LINK) == 0
    assert trees_s(8e9, 5, LINK) == pytest.approx(16 + 2 * 3 * 1e-3)  # five are as deep as eight
    assert ring_s(1e3, 128, LINK) > trees_s(1e3, 128, LINK)  # many messages, no bytes


def test_nodes_sum_within_and_then_across() -> None:
    assert all_reduce_s(8e9, 8, LINK, FREE) == pytest.approx(ring_s(8e9, 8, LINK))
    assert all_reduce_s(8e9, 16, FREE, LINK) == pytest.approx(ring_s(8e9, 2, LINK))
    assert all_reduce_s(8e9, 4, LINK, LINK) == pytest.approx(ring_s(8e9, 4, LINK))  # half a node


def test_the_backward_pass_hides_all_but_the_last_bucket() -> None:
    job = Job(8)
    fast = Link("", 1000.0, 0.0)
    assert exposed_s(SMALL, job, fast, FREE) == pytest.approx(ring_s(4e6, 8, fast))  # one bucket: nothing is hidden
    assert exposed_s(LARGE, job, fast, FREE) == pytest.approx(ring_s(25 * 2**20, 8, fast))
    slow = Link("", 10.0, 0.0)  # 70 ms, of which 2/3 of 10 ms are hidden
    assert exposed_s(LARGE, job, slow, FREE) == pytest.approx(0.07 - 0.02 / 3)
    assert efficiency(LARGE, job, slow, FREE) == pytest.approx(0.01 / (0.01 + 0.07 - 0.02 / 3))
    assert efficiency(SMALL, job, FREE, FREE) == pytest.approx(1)


def test_reading_and_cores() -> None:
    assert read_gb_per_s(8_000, 8) == pytest.approx(20.48)
    assert cores_per_node(8_000, 71) == pytest.approx(4.544)
    assert save_every_s(2.0, 1024, 1024.0) == pytest.approx(120.0)  # a failure an hour


def test_steps_of_an_epoch_end_with_the_clips() -> None:
    cells = {row[0]: row[1:] for row in tables.batches().rows}
    assert cells["DCASE 2020"] == ["39", "4", "0", "2"]
    assert Job(1024).nodes == 128 and Job(4).nodes == 1


def test_measured_figures_take_the_place_of_estimates(tmp_path: Path) -> None:
    save(Part([], figures={"loader.cpu_us_per_clip": 50.0}), tmp_path / "loader.json", {})
    save(Part([], figures={"loader.cpu_us_per_clip": 9.0}), tmp_path / "scale.json", {})  # its own former page
    figures = Figures.of(tmp_path)
    row = tables.reading([SMALL], figures).rows[0]
    assert row[6:] == ["2.6", "71.7", "24.2"]  # 8 × 6,400 × 50 µs; the others by their estimates
    origins = {what: origin for what, _, origin in tables.inputs(figures).rows}
    assert origins["CPU µs a clip, our loader, PCM"] == "measured"
    assert origins["CPU µs a clip, webdataset, PCM"] == "estimate"


def test_two_ranks_and_a_plan_are_timed() -> None:
    seconds = gloo_s([4_000, 40_000], rounds=2)
    assert [len(found) for found in seconds] == [2, 2] and all(s > 0 for found in seconds for s in found)
    assert len(plan_s(2_000, rounds=3)) == 3


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "gloo_s", lambda sizes, rounds: [[size / 1e9] * rounds for size in sizes])
    monkeypatch.setattr(scale, "MANY", 10_000)
    part = scale.run(argparse.Namespace(work=tmp_path, rounds=2, public=None))
    assert part.figures["scale.gloo_gb_per_s"] == pytest.approx(1.0)
    assert part.figures["scale.plan_1000000_s"] > 0
    assert part.goals[0].reached and part.goals[0].found[0] < 1
    exchange = next(table for table in part.tables if table.title.startswith("Exchange"))
    assert [row[0] for row in exchange.rows] == [name for name, _, _ in inputs.ESTIMATED]
    assert exchange.rows[1][1] == "4.6"  # MB of 1,156,566 parameters
    assert all(len(row) == len(table.head) for table in part.tables for row in table.rows)
    save(part, tmp_path / "scale.json", {})
    assert load(tmp_path / "scale.json")[0] == part
