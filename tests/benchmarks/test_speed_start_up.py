"""Part start_up of the speed suite: its sets can be opened and read, and a tiny run of it."""

from __future__ import annotations

import numpy as np
import pytest

from asd.config.build import open_shards
from asd.data.config import DataConfig
from asd.data.reader import Reader
from benchmarks.speed import start_up
from benchmarks.speed.start_up_set import CLIPS_A_SHARD, RATE, sparse_set

CLIPS = 1000


def test_a_sparse_set_is_a_set_that_takes_no_room(tmp_path):
    folder = sparse_set(tmp_path / "set", 590, 410)
    manifest = open_shards(DataConfig(shards=str(folder)))
    assert (len(manifest), len(manifest.classes), len(set(manifest.strings("key")))) == (CLIPS, 41, CLIPS)
    assert len(manifest.select("train")) == 590
    assert manifest.label[manifest.select("test")].mean() == 0.5
    assert max(shard.clips for shard in manifest.file.shards) == CLIPS_A_SHARD
    assert sum(path.stat().st_blocks * 512 for path in folder.iterdir()) < 1 << 20
    reader = Reader(manifest)
    rows = np.ones((3, RATE), dtype=np.int16)
    frames, valid = reader.read(np.array([0, 500, 999]), np.array([0, 7, 9 * RATE]), rows)
    reader.close()
    assert valid.all()
    assert frames.tolist() == [RATE] * 3
    assert not rows.any()


def test_a_run_of_the_part(tmp_path, monkeypatch):
    monkeypatch.setattr(start_up, "STEPS_BEFORE_MEMORY", 2)
    part = start_up.measure(tmp_path, rounds=1, sizes=(CLIPS,))
    goals = {goal.what: goal.found[0] for goal in part.goals}
    assert goals["imports"] > 0.5 and 0 < goals["first step, beyond imports, 1,000 clips"] < 60
    assert 0 < goals["memory of a rank beyond torch itself, 1,000 clips"] < 4
    assert pytest.approx(goals["imports"], abs=0.01) == float(part.tables[0].rows[0][2].split()[0])
