"""Runs that cannot be combined are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import eval as evaluation
from asd.errors import UserError
from asd.evaluate.store import CALIBRATION_FILE
from asd.metrics import scores_csv
from asd.metrics.decisions import machines_of
from asd.report import Header, write_report
from tests.support.ensembles import ensemble, write


def refused(out: Path, runs: list[str], *words: str) -> str:
    with pytest.raises(UserError) as error:
        evaluation.main(["ensemble", "--runs", *runs, "--out", str(out), *words])
    assert not out.exists() or not (out / "submission").exists()
    return str(error.value)


def test_runs_of_other_clips_are_refused_by_name(runs, tmp_path):
    test = runs.test["b"]
    rows = np.flatnonzero(np.array(test.key) != "fan-section_01_target_test_anomaly_0003")
    assert len(rows) == len(test) - 1
    write_report(tmp_path / "b", test.select(rows), Header(layout="dcase2022", primary="knn"))
    said = refused(tmp_path / "out", runs.folders("a", "b"))
    assert "scored different fan clips, such as fan-section_01_target_test_anomaly_0003" in said
    assert str(tmp_path / "a") in said
    assert str(tmp_path / "b") in said


def test_a_run_without_calibration_is_refused(runs, tmp_path):
    (tmp_path / "b" / CALIBRATION_FILE).unlink()
    assert f"{tmp_path / 'b'} holds no scores (or those of an older version)" in refused(
        tmp_path / "out", runs.folders("a", "b")
    )


def test_a_machine_without_calibration_clips_is_refused(runs, tmp_path):
    calibration = runs.calibration["b"]
    rows = np.array([row for row, machine in enumerate(machines_of(calibration)) if machine != ("fan", "01")])
    (tmp_path / "b" / CALIBRATION_FILE).write_text(scores_csv(calibration.select(rows)))
    said = refused(tmp_path / "out", runs.folders("a", "b"))
    assert f"{tmp_path / 'b'} has no normal clip of fan/01" in said


def test_runs_of_different_years_are_refused(runs, tmp_path):
    write(runs, "b", layout="dcase2023")
    assert "different layouts: dcase2022, dcase2023" in refused(tmp_path / "out", runs.folders("a", "b"))


def test_a_run_without_test_clips_is_refused(runs, tmp_path):
    nothing = runs.test["b"].select(np.array([], dtype=np.int64))
    write_report(tmp_path / "b", nothing, Header(layout="dcase2022", primary="knn"))
    assert f"{tmp_path / 'b'} holds no test clip" in refused(tmp_path / "out", runs.folders("a", "b"))


@pytest.mark.parametrize(
    ("names", "words", "said"),
    [
        (["a"], [], "two runs or more"),
        (["a", "a"], [], "two runs or more"),
        (["a", "b"], ["--scorer", "gmm"], "has no scorer gmm: it has knn, other"),
        (["a", "b"], ["--k", "0"], "--k 0: give 1 or more"),
        (["a", "b"], ["--percent", "100"], "--percent 100: give a number between 0 and 100"),
        (["a", "nowhere"], [], "nowhere is not a run folder"),
    ],
)
def test_words_that_do_not_fit_are_refused(runs, tmp_path, names, words, said):
    assert said in refused(tmp_path / "out", runs.folders(*names), *words)


def test_nothing_foreign_is_written_over(runs, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    before = (tmp_path / "a" / "scores.csv").read_text()
    assert "holds other files" in refused(tmp_path / "mine", runs.folders("a", "b"))
    assert "is a file" in refused(tmp_path / "file", runs.folders("a", "b"))
    assert "lies in the input folder" in refused(tmp_path / "a", runs.folders("a", "b"))
    assert (tmp_path / "a" / "scores.csv").read_text() == before


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("label", -1, "has label 0 in {a} and -1 in {b}"),
        ("domain", "target", "has domain source in {a} and target in {b}"),
    ],
)
def test_runs_that_say_different_things_of_a_clip_are_refused(runs, tmp_path, field, value, said):
    """Else the labels of whichever run is named first would count."""
    (b,) = runs.folders("b")
    clips = runs.test["b"]
    row = clips.key.index("fan-section_00_source_test_normal_0000")
    getattr(clips, field)[row] = value
    (runs.root / "b" / "scores.csv").write_text(scores_csv(clips), encoding="utf-8")
    said = said.format(a=runs.folders("a")[0], b=b)
    with pytest.raises(UserError, match=f"clip {clips.key[row]} {said}"):
        ensemble(tmp_path / "out", runs.folders("a", "b"))
    assert not (tmp_path / "out").exists()
