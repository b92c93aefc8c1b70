"""Scores belong to a checkpoint: not to the number of ranks, the batch mates or the moment of scoring."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import FinishedRun
from tests.system.launch import succeed


def score(run: Path, out: Path, *words: str, ranks: int = 1) -> Path:
    """eval.py score on forked ranks; the folder that it wrote."""
    arguments = ["score", "--run", str(run), "--checkpoint", "last", "--out", str(out), *words]
    succeed(out.with_name(out.name + "_log"), arguments, ranks=ranks, script="eval")
    return out


def report(folder: Path) -> dict[str, Any]:
    """report.json without the seconds it took."""
    found = json.loads((folder / "report.json").read_text())
    del found["embed_s"]
    return found


def numbers(folder: Path) -> dict[str, list[float]]:
    """Clip key → its scores."""
    with (folder / "scores.csv").open() as file:
        return {row["key"]: [float(v) for v in list(row.values())[6:]] for row in csv.DictReader(file)}


@pytest.mark.parametrize("ranks", [1, 2])
def test_scoring_afterwards_reproduces_training(finished_run: FinishedRun, tmp_path: Path, ranks: int) -> None:
    (logged,) = (finished_run.folder / "evaluations").iterdir()
    again = score(finished_run.folder, tmp_path / "again", ranks=ranks)
    assert report(again) == report(logged)
    assert (again / "scores.csv").read_text() == (logged / "scores.csv").read_text()


def test_scores_do_not_depend_on_batch_mates(finished_run: FinishedRun, tmp_path: Path) -> None:
    (logged,) = (finished_run.folder / "evaluations").iterdir()
    alone = numbers(score(finished_run.folder, tmp_path / "alone", "evaluate.batch_audio_s=1"))
    together = numbers(logged)
    assert len(alone) == 32
    assert alone.keys() == together.keys()
    for key, values in alone.items():
        assert values == pytest.approx(together[key], rel=1e-5, abs=1e-6)
