"""Part start_up of the speed suite: its sets can be opened and read, its clock counts what it says, its run runs."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from asd.data.loader import DataConfig
from asd.data.reader import Reader
from asd.errors import UserError
from asd.system import open_shards
from benchmarks.speed import start_up
from benchmarks.speed.start_up_probe import Clock, age_s, memory_mib
from benchmarks.speed.start_up_set import CLIPS_A_SHARD, RATE, sparse_set

CLIPS = 1000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return sparse_set(tmp_path_factory.mktemp("sparse") / "set", CLIPS)


def test_a_sparse_set_is_a_set_that_takes_no_room(folder):
    manifest = open_shards(DataConfig(shards=str(folder)))
    assert len(manifest) == CLIPS
    assert len(manifest.classes) == 42
    assert len(manifest.select("train")) == 667
    assert len(manifest.select("test")) == 333
    assert max(shard.clips for shard in manifest.file.shards) == CLIPS_A_SHARD
    assert len(set(manifest.strings("key"))) == CLIPS
    assert sum(shard.bytes for shard in manifest.file.shards) > CLIPS * 2 * 10 * RATE
    assert sum(path.stat().st_blocks * 512 for path in folder.iterdir()) < 1 << 20
    reader = Reader(manifest)
    rows = np.ones((3, RATE), dtype=np.int16)
    frames, valid = reader.read(np.array([0, 500, 999]), np.array([0, 7, 9 * RATE]), rows)
    reader.close()
    assert valid.all()
    assert frames.tolist() == [RATE] * 3
    assert not rows.any()


def test_opening_a_sparse_set_looks_into_its_tars(folder):
    manifest = open_shards(DataConfig(shards=str(folder)))
    path = folder / manifest.file.shards[1].file
    content = path.read_bytes()
    try:
        path.write_bytes(bytes(len(content)))
        with pytest.raises(UserError, match="does not hold clip"):
            open_shards(DataConfig(shards=str(folder)))
    finally:
        path.write_bytes(content)


def test_the_clock_takes_inner_stages_out_of_outer_ones(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work():
        now[0] += 3

    clock, owner = Clock(), SimpleNamespace(work=work)
    clock.watch("inner", owner, "work")
    with clock.stage("outer"):
        owner.work()
        now[0] += 1
        owner.work()
    assert clock.seconds == {"inner": 6, "outer": 1}


def test_age_and_memory_of_this_process():
    begin = time.monotonic()
    before, began = age_s(), time.monotonic()
    assert before > 0
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    memory = memory_mib()
    assert memory["peak"] >= memory["now"] > 64
    ends, older, ended = time.monotonic(), age_s() - before, time.monotonic()
    tick = 1 / os.sysconf("SC_CLK_TCK")
    assert ends - began - tick <= older <= ended - begin + tick


def test_a_run_of_the_part(tmp_path, monkeypatch):
    monkeypatch.setattr(start_up, "STEPS_BEFORE_MEMORY", 1)
    part = start_up.measure(tmp_path, rounds=1, sizes=(CLIPS,), ranks=False)
    (stages, growth), probe = part.tables, {row[0]: row[1] for row in part.tables[0].rows}
    assert {"import torch", "manifest", "splits", "network", "first batch", "first step"} <= set(probe)
    seconds = {name: float(cell.split()[0].replace(",", "")) for name, cell in probe.items()}
    whole = seconds["**all until the first step**"]
    parts = sum(s for name, s in seconds.items() if name not in ("**all until the first step**", "of which imports"))
    assert parts == pytest.approx(whole, rel=0.25)  # no stage is left out
    assert seconds["other imports"] > 0
    assert stages.head[1:] == ["1,000 clips"]
    assert growth.rows[0][0] == "1,000"
    goals = {goal.what: goal for goal in part.goals}
    beyond = goals["first step, beyond imports, 1,000 clips"].found[0]
    assert beyond == pytest.approx(whole - seconds["of which imports"], abs=0.02)
    assert not (tmp_path / "run").exists()
