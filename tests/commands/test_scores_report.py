"""eval.py report of own recordings: the labels stand in scores.csv, or in the table that was packed."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import eval as evaluation
from asd.errors import UserError
from asd.metrics import ClipScores, scores_csv
from asd.report import Header, write_report
from tests.support.official_files import make

MACHINES = (("pump", "1"), ("pump", "00"), ("motor of line 3", "a b"))


def clips_of(labels: tuple[int, ...] = (0, 1)) -> ClipScores:
    """16 clips a machine, own files and names."""
    random = np.random.default_rng(0)
    rows = []
    for machine_type, machine_id in MACHINES:
        for number in range(16):
            label = labels[number % len(labels)]
            rows.append((f"day 1/{machine_id}, {number}.wav", machine_type, machine_id, label, random.normal() + label))
    files, types, ids, label, score = (list(column) for column in zip(*rows, strict=True))
    scores = {"knn": np.array(score), "lof": -np.array(score)}
    return ClipScores(files, files, types, ids, [""] * len(files), np.array(label), scores)


def scored(folder: Path, clips: ClipScores) -> Path:
    """What eval.py score leaves of a table set."""
    header = Header(layout="table", primary="lof", baselines=[], run="own", step=7)
    decision = (clips.scores["lof"] > 0).astype(int)
    write_report(folder, clips, header, decision)
    decided = dataclasses.replace(clips, scores={"decision": decision})
    (folder / "decisions.csv").write_text(scores_csv(decided), encoding="utf-8")
    return folder


def report(*words: object, layout: str = "table") -> None:
    assert evaluation.main(["report", "--layout", layout, *map(str, words)]) == 0


@pytest.mark.parametrize("where", ["", "scores.csv"])
def test_the_folder_of_an_evaluation_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str) -> None:
    clips = clips_of()
    folder = scored(tmp_path / "step_7", clips)
    report("--scores", folder / where, "--json", tmp_path / "numbers.json")
    found = json.loads((tmp_path / "numbers.json").read_text())
    aucs = {}
    for machine in MACHINES:
        rows = [(t, i) == machine for t, i in zip(clips.machine_type, clips.machine_id, strict=True)]
        aucs[machine] = roc_auc_score(clips.label[rows], clips.scores["lof"][rows])
        assert found["scorers"]["lof"]["types"][machine[0]]["ids"][machine[1]]["auc"] == pytest.approx(aucs[machine])
    shown = capsys.readouterr().out
    pumps = (aucs["pump", "1"] + aucs["pump", "00"]) / 2
    assert f"{100 * pumps:.2f}/" in shown
    assert "lof (primary) is below knn" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    before = json.loads((folder / "report.json").read_text())
    assert (found["scorers"], found["decisions"]) == (before["scorers"], before["decisions"])


@pytest.mark.parametrize("damaged", ["", "[]", '{"primary": '])
def test_without_a_readable_report_beside_the_scores_speak_for_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: str
) -> None:
    folder = scored(tmp_path / "step_7", clips_of())
    (folder / "report.json").write_text(damaged)
    report("--scores", folder)
    assert "knn" in capsys.readouterr().out


def test_labels_may_come_later_from_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = clips_of()
    truth = clips.label.copy()
    clips.label[:] = -1
    folder = scored(tmp_path / "step_7", clips)
    with pytest.raises(UserError, match=r"none of 48 clips has a label: give --ground-truth TABLE\.csv"):
        report("--scores", folder)
    table = tmp_path / "my clips.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = zip(clips.file_name, clips.machine_type, clips.machine_id, truth.tolist(), strict=True)
        words = (("path", "machine_type", "machine_id", "split", "label"),)
        csv.writer(file).writerows([*words, *((f, t, i, "test", ("normal", "anomaly")[n]) for f, t, i, n in rows)])
    report("--scores", folder, "--ground-truth", table, "--json", tmp_path / "numbers.json")
    found: dict[str, Any] = json.loads((tmp_path / "numbers.json").read_text())
    assert found["test"] == {"clips": 48, "normals": 24, "anomalies": 24, "unlabelled": 0}
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-2]) + "\n")
    with pytest.raises(UserError, match=r"does not list 2 of 48 clips: motor of line 3/a b/day 1/a b, 14\.wav, "):
        report("--scores", folder, "--ground-truth", table)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ((0,), "no AUC: of the labelled clips 48 are normal and 0 anomalous, and it takes both; false alarms: "),
        ((1,), "no AUC: of the labelled clips 0 are normal and 48 anomalous, and it takes both; hits: "),
        ((0, -1), "no AUC: of the labelled clips 24 are normal and 0 anomalous"),
    ],
)
def test_clips_of_one_kind_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: tuple[int, ...], said: str
) -> None:
    folder = scored(tmp_path / "step_7", clips_of(labels))
    report("--scores", folder)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(said)


@pytest.mark.parametrize("layout", ["dcase2020", "dcase2021", "dcase2023"])
def test_score_files_of_normal_clips_alone_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    made = make(tmp_path, layout)
    for path in made.truth.rglob("*.csv"):
        if path.parent.name != "ground_truth_domain":
            lines = [line.rsplit(",", 1) for line in path.read_text().splitlines()]
            path.write_text("".join(f"{row[0]},0\n" if len(row) == 2 else f"{row[0]}\n" for row in lines))
    report("--scores", made.scores, "--ground-truth", made.truth, "--json", tmp_path / "numbers.json", layout=layout)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("no AUC: none of 7 sections has normal and anomalous clips (ToyCar 01: no ")
    assert json.loads((tmp_path / "numbers.json").read_text())["official_score"] is None


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"for layout table name the folder of a scores\.csv"):
        report("--scores", tmp_path)
    with pytest.raises(UserError, match="--ground-truth is needed"):
        report("--scores", tmp_path, layout="dcase2023")
    folder = scored(tmp_path / "step_7", clips_of())
    (tmp_path / "t.csv").write_text("path,label\n")
    with pytest.raises(
        UserError, match=r"t\.csv:1: the first line must name the columns path,machine_type,machine_id,label"
    ):
        report("--scores", folder, "--ground-truth", tmp_path / "t.csv")
