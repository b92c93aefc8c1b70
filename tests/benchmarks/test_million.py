"""The benchmark of scoring a million clips, with some hundred."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import million


def test_each_step_of_scoring_has_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    million.main(["--clips", "820", "--dim", "8", "--work", str(tmp_path / "work")])
    said = capsys.readouterr().out
    assert "779 training, 41 held-out, 820 test clips of 41 classes, 8-d" in said
    cells = [line.strip("| ").split(" | ") for line in said.splitlines() if line.startswith("| ")][2:]
    rows = {name: [float(wall), float(cpu)] for name, wall, cpu in cells}
    scorers = {"softmax", "centroid", "knn", "untrained_knn", "untrained_knn_level"}
    assert set(rows) == {*million.STEPS.values(), *scorers, "drawing figures", "all"}
    parts = sum(wall for name, (wall, _) in rows.items() if name != "all")
    assert parts <= rows["all"][0] + 0.1 * len(rows)
    assert "memory at most: 0." in said
    assert not [*(tmp_path / "work").iterdir()]
