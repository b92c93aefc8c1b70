"""debug=true: from the first step to the report on a few clips, beside the real run."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

import train_ddp
from asd.metrics import read_scores
from tests.support.inline import score_inline
from tests.support.launch import losses, train_words


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: when it was written, and what it holds."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_it_ends_in_a_report_and_leaves_the_real_run_alone(
    run2022: Path,
    factory2022: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    score_inline(monkeypatch)
    real = tmp_path / "run"
    shutil.copytree(run2022, real)
    before = tree(real)
    words = ["data.machine_types=[fan, valve]", "evaluate.scorers=[{name: centroid}]", "evaluate.select=last"]
    assert train_ddp.main(train_words(factory2022, real, *words, "debug=true")) == 0
    assert tree(real) == before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "run_debug"}
    folder = tmp_path / "run_debug"
    assert list(losses(folder)) == [1, 2, 3]
    report_folder = folder / "evaluations" / "step_00000003"
    report = json.loads((report_folder / "report.json").read_text())
    assert (report["run"], report["step"]) == ("run_debug", 3)
    clips = read_scores(report_folder / "scores.csv")
    groups = Counter(zip(clips.machine_type, clips.machine_id, clips.domain, strict=True))
    assert set(groups.values()) == {4}
    assert len(groups) == 8
    assert report["fit_clips"] == 4 * (4 + 3)  # 4 of the source and all 3 of the target domain, of each class
    assert f"best checkpoint by the last rule: {report_folder / 'report.md'}" in capfd.readouterr().out
