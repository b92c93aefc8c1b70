"""Part packing of the speed suite: a tiny run of it."""

from __future__ import annotations

from benchmarks.speed import packing


def test_a_run_of_the_part(tmp_path):
    part = packing.measure(tmp_path, rounds=1, sizes=(6, 12), clip_s=0.5)
    assert [row[0] for row in part.tables[0].rows] == ["6", "12"]
    assert all(
        0 <= float(row[3].split()[0]) < 1 for row in part.tables[0].rows
    )  # beside cp: a Python process was started
    (hour,) = part.goals
    assert hour.what == "recordings → shards on the disk, 12 clips: an hour of sound" and hour.found[0] > 0
    assert len(list((tmp_path / "recordings-12").rglob("*.wav"))) == 12
    assert not (tmp_path / "out").exists()
