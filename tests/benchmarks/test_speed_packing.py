"""Part packing of the speed suite: a tiny run of it, and recordings that are as many and as different as it says."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from benchmarks.speed import packing
from benchmarks.speed.packing_corpus import multiply

CLIPS = (6, 12)


@pytest.fixture
def factory(tmp_path):
    """Stands for a synthesised one."""
    rng = np.random.default_rng(0)
    for number in range(4):
        path = tmp_path / "factory" / "fan" / "train" / f"normal_id_00_{number:08d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.integers(-999, 999, 8000, dtype=np.int16), 16_000, subtype="PCM_16")
    return tmp_path / "factory"


def test_multiplied_recordings_are_all_different(factory, tmp_path):
    out = multiply(factory, tmp_path / "many", 10)
    files = sorted(out.rglob("*.wav"))
    assert len(files) == 10
    assert len({path.read_bytes() for path in files}) == 10
    assert len([path for path in files if path.parent.name == "train"]) == 7


def test_a_run_of_the_part(factory, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "synthesise", lambda out, clips_a_unit, clip_s: (4, 2.0))
    monkeypatch.setattr(packing.shutil, "rmtree", _all_but(factory, packing.shutil.rmtree))
    part = packing.measure(tmp_path, rounds=1, sizes=CLIPS, clip_s=0.5)
    beside_cp, others = part.tables
    assert [row[0] for row in beside_cp.rows] == ["6", "12"]
    goals = {goal.what: goal for goal in part.goals}
    packed = float(beside_cp.rows[1][2].split()[0])
    assert packed > 0.1  # a Python process was started
    assert goals["`cp` / `shards.pack`, 12 clips"].found[0] < 1
    assert len(others.rows) == 7
    assert not (tmp_path / "packed").exists()
    assert not (tmp_path / "copy").exists()


def _all_but(kept, remove):
    def removed(path, *more, **words):
        if path != kept:
            remove(path, *more, **words)

    return removed
