"""The part `own_hour` in small: configs of own machines, from recordings to detectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.speed import own_hour


def test_every_config_ends_in_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(own_hour.GOAL_S, "own_machines")
    words = {
        "statistics": ("evaluate.scorers=[untrained_knn]",),
        "own_machines_autoencoder": ("train.steps=2", "evaluate.scorers=[reconstruction]"),
    }
    part = own_hour.measure(tmp_path, 1, train_clips=5, clip_s=1.0, words=words)
    assert [row[0] for row in part.tables[0].rows] == [f"configs/{name}.yaml" for name in words]
    assert [goal.goal for goal in part.goals] == [60, 60]
    assert all(goal.found[0] > 0 for goal in part.goals)
    assert all((tmp_path / name / "detector.pt").is_file() for name in words)
