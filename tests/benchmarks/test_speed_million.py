"""The part `million`, with some hundred clips."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.speed import million


def test_each_step_of_scoring_has_its_row(tmp_path: Path) -> None:
    part = million.measure(tmp_path / "work", 820, 8)
    (told,) = part.remarks
    assert "779 training, 41 held-out and 820 test clips of 41 classes, 8-d" in told
    steps = re.findall(r"(.+?) ([0-9.]+) \([0-9.]+\)(?:; |\.$)", told.partition("(of the processor): ")[2])
    rows = {name: float(wall) for name, wall in steps}
    scorers = {"softmax", "centroid", "knn", "untrained_knn", "untrained_knn_level"}
    assert set(rows) == {*million.STEPS.values(), *scorers, "drawing figures", "all"}
    assert sum(wall for name, wall in rows.items() if name != "all") <= rows["all"] + 0.1 * len(rows)
    assert [goal.what for goal in part.goals] == ["820 clips scored", "820 clips scored: memory / embeddings"]
    assert all(goal.found[0] > 0 for goal in part.goals)
    assert not [*(tmp_path / "work").iterdir()]
