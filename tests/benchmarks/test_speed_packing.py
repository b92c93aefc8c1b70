"""Part packing of the speed suite: a tiny run of it."""

from __future__ import annotations

from benchmarks.speed import packing


def test_a_run_of_the_part(tmp_path):
    part = packing.measure(tmp_path, rounds=1, sizes=(6, 12), clip_s=0.5)
    assert [row[0] for row in part.tables[0].rows] == ["3", "6", "12"]
    goals = {goal.what: goal.found[0] for goal in part.goals}
    assert 0 < goals["`cp` / `shards.pack`, 12 clips"] < 1  # a Python process was started
    assert len(goals) == 5
    assert len(list((tmp_path / "recordings-12").rglob("*.wav"))) == 12
    assert not (tmp_path / "out").exists()
