"""The part `million`, with some hundred clips."""

from __future__ import annotations

from pathlib import Path

from benchmarks.speed import million


def test_each_step_of_scoring_has_its_row(tmp_path: Path) -> None:
    part = million.measure(tmp_path / "work", 820, 8)
    (table,) = part.tables
    assert "779 training, 41 held-out and 820 test clips of 41 classes, 8-d" in table.title
    rows = {name: [float(wall), float(cpu)] for name, wall, cpu in table.rows}
    scorers = {"softmax", "centroid", "knn", "untrained_knn", "untrained_knn_level"}
    assert set(rows) == {*million.STEPS.values(), *scorers, "drawing figures", "all"}
    parts = sum(wall for name, (wall, _) in rows.items() if name != "all")
    assert parts <= rows["all"][0] + 0.1 * len(rows)
    assert [goal.what for goal in part.goals] == ["820 clips scored", "820 clips scored: memory / embeddings"]
    assert all(goal.found[0] > 0 for goal in part.goals)
    assert not [*(tmp_path / "work").iterdir()]
