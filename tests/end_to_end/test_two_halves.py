"""Development, additional training and evaluation recordings of 2020 packed as one: the blog's table of one model.

Development IDs have labels in their file names, those of the evaluation half come from the organisers' list.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import hmean
from sklearn.metrics import roc_auc_score

import eval as evaluation
import train_ddp
from asd.detector import read_detector
from asd.evaluate.history import best_step, show_best
from asd.metrics import ClipScores, read_scores
from asd.run_folder.paths import RunFolder
from shards import pack
from tests.support.inline import score_inline, score_run
from tests.support.launch import train_words
from tests.support.sets import write_recordings

TYPES = ("fan", "pump")
DEV, EVAL = ("00", "02"), ("01", "03")


@dataclass(frozen=True)
class Halves:
    """A run on both halves, what eval.py score made of its best checkpoint, and the organisers' list."""

    run: Path
    scored: Path
    list: Path


def write_factory(root: Path) -> Path:
    """dev/, additional/ and evaluation/ as the organisers publish them; the list of labels."""
    write_recordings(root / "dev", [(t, i) for t in TYPES for i in DEV], train=12, test=4, seconds=0.5, seed=1)
    write_recordings(root / "all", [(t, i) for t in TYPES for i in EVAL], train=12, test=4, seconds=0.5, seed=2)
    lines = []
    for machine_type in TYPES:
        lines.append(machine_type)
        train, test = (root / part / machine_type for part in ("additional", "evaluation"))
        train.mkdir(parents=True)
        (root / "all" / machine_type / "train").rename(train / "train")
        (test / "test").mkdir(parents=True)
        for machine_id in EVAL:
            found = sorted((root / "all" / machine_type / "test").glob(f"*_id_{machine_id}_*.wav"))
            for number, path in enumerate(found[::2] + found[1::2]):
                released = f"id_{machine_id}_{number:08d}.wav"
                lines.append(f"{released},{path.name},{int(path.name.startswith('anomaly'))}")
                path.rename(test / "test" / released)
    (root / "eval_data_list.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Halves:
    root = write_factory(tmp_path_factory.mktemp("two_halves"))
    sources = [word for part in ("dev", "additional", "evaluation") for word in ("--source", str(root / part))]
    truth = ["--ground-truth", str(root / "eval_data_list.csv"), "--workers", "1", "--out", str(root / "shards")]
    assert pack.main(["--layout", "dcase2020", *sources, *truth]) == 0
    words = ["evaluate.every_epochs=1", "evaluate.select=oracle", "train.epochs=3", "data.val_fraction=0.2"]
    words += ["evaluate.scorers=[{name: centroid}, {name: untrained_knn}]"]
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(train_words(root / "shards", root / "run", *words)) == 0
    return Halves(root / "run", score_run(root / "run", root / "scored"), root / "eval_data_list.csv")


def by_hand(clips: ClipScores, machine_ids: tuple[str, ...], scorer: str = "centroid") -> dict[str, list[float]]:
    """AUC and pAUC of each type, and both means, from scores.csv by scikit-learn and SciPy."""
    found = {}
    for machine_type in TYPES:
        units = []
        for machine_id in machine_ids:
            own = [
                (t, i) == (machine_type, machine_id) for t, i in zip(clips.machine_type, clips.machine_id, strict=True)
            ]
            pair = clips.label[own], clips.scores[scorer][own]
            units.append([roc_auc_score(*pair), roc_auc_score(*pair, max_fpr=0.1)])
        found[machine_type] = list(np.mean(units, axis=0))
    return found | {
        "mean": list(np.mean([found[t] for t in TYPES], axis=0)),
        "harmonic mean": list(hmean([found[t] for t in TYPES], axis=0)),
    }


def rows_of(dev: dict[str, list[float]], other: dict[str, list[float]]) -> list[list[str]]:
    return [[*name.split(), *(f"{100 * value:.2f}" for value in [*dev[name], *other[name]])] for name in dev]


def test_the_table_of_a_training_run_is_the_one_of_its_scores(
    halves: Halves, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = read_scores(halves.scored / "scores.csv")
    assert (len(clips), int(clips.known.sum())) == (64, 64)
    rows = rows_of(by_hand(clips, DEV), by_hand(clips, EVAL))
    text = (halves.scored / "report.md").read_text()
    table = text[text.index("## Dev and Eval, centroid") :].split("\n\n")[1].splitlines()[2:]
    assert [line.replace("|", " ").replace("*", "").split() for line in table] == rows
    report: dict[str, Any] = json.loads((halves.scored / "report.json").read_text())
    assert set(report["scorers"]["centroid"]["types"]["fan"]["ids"]) == set(DEV)
    assert set(report["evaluation"]["scorers"]["centroid"]["types"]["fan"]["ids"]) == set(EVAL)
    trained = RunFolder(halves.run)
    best = best_step(trained, "oracle")
    assert best is not None
    there = json.loads((trained.evaluation(best) / "report.json").read_text())
    assert (there["scorers"], there["evaluation"]) == (report["scorers"], report["evaluation"])
    show_best(trained, "oracle", ())
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert all(row in shown for row in rows)


def test_the_submission_of_both_halves_is_reported(
    halves: Halves, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = read_scores(halves.scored / "scores.csv")
    command = ["report", "--layout", "dcase2020", "--scores", str(halves.scored / "submission"), "--ground-truth"]
    assert evaluation.main([*command, str(halves.list), "--json", str(tmp_path / "both.json")]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    for row in rows_of(by_hand(clips, DEV), by_hand(clips, EVAL)):
        assert row in shown
    found: dict[str, Any] = json.loads((tmp_path / "both.json").read_text())
    report: dict[str, Any] = json.loads((halves.scored / "report.json").read_text())
    official = found.pop("evaluation")
    assert (found, official) == (report["official"]["centroid"], report["evaluation"]["official"]["centroid"])
    assert evaluation.main([*command, "names"]) == 0
    alone = capsys.readouterr().out
    assert "no label in the names of fan 01, fan 03, pump 01, pump 03: left out" in " ".join(alone.split())
    dev = by_hand(clips, DEV)
    assert ["mean", *(f"{100 * value:.2f}" for value in dev["mean"])] in [line.split() for line in alone.splitlines()]


def test_the_oracle_chooses_by_development_labels(halves: Halves) -> None:
    trained = RunFolder(halves.run)
    sums = {}
    for folder in trained.evaluations.glob("step_*"):
        dev = by_hand(read_scores(folder / "scores.csv"), DEV)
        sums[int(folder.name.removeprefix("step_"))] = sum(dev["fan"]) + sum(dev["pump"])
    best = best_step(trained, "oracle")
    assert len(sums) == 3
    assert best is not None
    assert sums[best] == pytest.approx(max(sums.values()))


def test_the_command_that_a_report_names_exports_the_better_scorer(
    halves: Halves, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two is lower here is made the primary one."""
    report: dict[str, Any] = json.loads((halves.scored / "report.json").read_text())
    means = {name: numbers["mean"]["auc"] + numbers["mean"]["pauc"] for name, numbers in report["scorers"].items()}
    low, high = sorted(means, key=lambda name: means[name])
    words = [f"evaluate.scorers=[{{name: {low}}}, {{name: {high}}}]"]
    again = json.loads((score_run(halves.run, tmp_path / "scored", *words) / "report.json").read_text())
    assert (again["primary"], again["better"]["scorer"]) == (low, high)
    command = shlex.split(again["better"]["export"])
    assert command[:2] == ["python", "eval.py"]
    monkeypatch.chdir(tmp_path)
    assert evaluation.main(command[2:]) == 0
    assert [scorer.label for scorer in read_detector(tmp_path / "detector.pt").scorers] == [high]
