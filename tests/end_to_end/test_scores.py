"""Scores belong to a checkpoint: not to the number of ranks, the batch mates or the moment of scoring."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest

import eval as evaluation
import train_ddp
from asd.commands import open_run
from asd.commands.score import _submit
from asd.errors import UserError
from asd.metrics import read_scores, scores_csv
from asd.metrics.decisions import machines_of
from asd.report import Report
from asd.run_folder.paths import RunFolder
from tests.end_to_end.conftest import FinishedRun
from tests.support.hooks import no_figures
from tests.support.inline import score_run
from tests.support.launch import succeed, train_words


def score(run: Path, out: Path, *words: str, ranks: int = 1) -> Path:
    """eval.py score on forked ranks; the folder that it wrote."""
    arguments = ["score", "--run", str(run), "--checkpoint", "last", "--out", str(out), *words]
    succeed(out.with_name(out.name + "_log"), arguments, ranks=ranks, script="eval", prepare=no_figures)
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


# ---- official scores -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored2022(run2022: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What eval.py score makes of the run's best checkpoint."""
    return score_run(run2022, tmp_path_factory.mktemp("scored2022") / "out")


def test_score_files_give_the_official_score_of_the_report(scored2022: Path, tmp_path: Path) -> None:
    words = ["--layout", "dcase2022", "--scores", str(scored2022 / "submission"), "--ground-truth", "names"]
    assert evaluation.main(["report", *words, "--json", str(tmp_path / "numbers.json")]) == 0
    found = report(scored2022)
    assert json.loads((tmp_path / "numbers.json").read_text()) == found["official"][found["primary"]]
    assert found["official"]["centroid"]["official_score"] is not None
    files = {path.name for path in (scored2022 / "submission").iterdir()}
    kinds, machines = ("anomaly_score", "decision_result"), ("fan", "valve")
    assert files == {f"{kind}_{name}_section_0{n}_test.csv" for kind in kinds for name in machines for n in (0, 1)}


def test_clips_whose_labels_are_hidden_are_submitted_alike(scored2022: Path, tmp_path: Path) -> None:
    """Evaluation sets are what submissions are made of."""
    found, hidden = report(scored2022), tmp_path / "hidden"
    shutil.copytree(scored2022, hidden)
    shutil.rmtree(hidden / "submission")
    for name in ("scores.csv", "decisions.csv"):
        clips = read_scores(hidden / name)
        clips.label[:] = -1
        (hidden / name).write_text(scores_csv(clips))
    said = _submit(hidden, Report.model_validate(found | {"official": {"centroid": None}}))
    assert "submission/" in said
    for path in (scored2022 / "submission").iterdir():
        assert (hidden / "submission" / path.name).read_text() == path.read_text()


def test_other_sets_have_no_score_files(scored2022: Path, tmp_path: Path) -> None:
    other = report(scored2022) | {"layout": "mimii", "official": {"centroid": None}}
    assert _submit(tmp_path, Report.model_validate(other)) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_quick_look_takes_so_many_test_clips_of_each_class_and_domain(run2022: Path, tmp_path: Path) -> None:
    words = ["evaluate.test_clips_per_class=1", "evaluate.fit_clips_per_class=2"]
    score_run(run2022, tmp_path / "out", *words)
    clips = read_scores(tmp_path / "out" / "scores.csv")
    groups = sorted(zip(clips.machine_type, clips.machine_id, clips.domain, strict=True))
    assert groups == sorted((t, i, d) for t in ("fan", "valve") for i in ("00", "01") for d in ("source", "target"))
    assert report(tmp_path / "out")["fit_clips"] == 16
    assert report(tmp_path / "out")["test"]["clips"] == 8


def test_the_last_checkpoint_is_chosen_where_that_is_the_rule(run2022: Path, tmp_path: Path) -> None:
    """Though the one before is the better one by either of the other rules."""
    shutil.copytree(run2022, tmp_path / "run")
    for step in (2, 4):
        folder = RunFolder(tmp_path / "run").evaluation(step)
        embedded, found = (json.loads((folder / name).read_text()) for name in ("evaluation.json", "report.json"))
        embedded["validation"]["loss"] = float(step)
        for machine in found["official"][found["primary"]]["machines"].values():
            for numbers in machine["sections"].values():
                numbers |= dict.fromkeys(("auc_source", "auc_target", "pauc"), 1 / step)
        (folder / "evaluation.json").write_text(json.dumps(embedded))
        (folder / "report.json").write_text(json.dumps(found))
    for rule, step in (("clean", 2), ("oracle", 2), ("last", 4)):
        assert open_run.choose_step(open_run.load_run(tmp_path / "run", [f"evaluate.select={rule}"]), "best") == step


def test_a_flip_of_no_class_is_refused_before_anything(factory2022: Path, run2022: Path, tmp_path: Path) -> None:
    said = "evaluate.flip names fan/07, which is not a class of the set: it has ToyCar/00, "
    with pytest.raises(UserError, match=said):
        evaluation.main(["score", "--run", str(run2022), "--out", str(tmp_path / "out"), "evaluate.flip=[fan/07]"])
    for words in ([], ["--check"]):
        with pytest.raises(UserError, match=said):
            train_ddp.main([*words, *train_words(factory2022, tmp_path / "run", "evaluate.flip=[fan/07]")])
    assert list(tmp_path.iterdir()) == []


def test_a_flip_of_a_machine_that_a_run_leaves_out_is_none_of_its_own(run2022: Path, tmp_path: Path) -> None:
    """One command for the runs of all machine types may name a class of one of them."""
    found = report(score_run(run2022, tmp_path / "out", "evaluate.flip=[gearbox/00, fan/01]"))
    assert found["flip"] == ["fan/01"]
    assert found["warnings"] == [{"code": "flipped", "text": "the scores of fan/01 are inverted (evaluate.flip)"}]


def test_the_last_evaluations_of_a_run_are_combined(run2022: Path, tmp_path: Path) -> None:
    """Each brought to the scale of its own normal clips, then averaged."""
    out = tmp_path / "out"
    assert evaluation.main(["ensemble", "--runs", str(run2022), "--last", "2", "--out", str(out)]) == 0
    folders = [run2022 / "evaluations" / f"step_{step:08d}" for step in (2, 4)]
    assert json.loads((out / "report.json").read_text())["ensemble"]["runs"]["fan"] == [str(own) for own in folders]
    given = []
    for test, normal in ((read_scores(own / "scores.csv"), read_scores(own / "calibration.csv")) for own in folders):
        of_machine: dict[tuple[str, str], list[float]] = {}
        for machine, score in zip(machines_of(normal), normal.scores["centroid"].tolist(), strict=True):
            of_machine.setdefault(machine, []).append(score)
        rows = zip(test.key, machines_of(test), test.scores["centroid"].tolist(), strict=True)
        given.append({key: (s - fmean(of_machine[m])) / pstdev(of_machine[m]) for key, m, s in rows})
    found = read_scores(out / "scores.csv")
    for key, score in zip(found.key, found.scores["ensemble"].tolist(), strict=True):
        assert score == pytest.approx((given[0][key] + given[1][key]) / 2, rel=1e-6, abs=1e-9)
    assert given[0] != given[1]


def test_the_last_evaluations_are_no_choice_on_test_clips(run2022: Path, tmp_path: Path) -> None:
    """Also of a run that chooses its best checkpoint so."""
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(run2022, run)
    for path in run.glob("evaluations/*/report.json"):
        oracle = {"selection": {"rule": "oracle", "oracle": True}}
        path.write_text(json.dumps(json.loads(path.read_text()) | oracle))
    for words, chosen in ((["--runs", str(run), "--last", "2"], False), (["--runs", str(run), str(run2022)], True)):
        assert evaluation.main(["ensemble", *words, "--out", str(out)]) == 0
        assert json.loads((out / "report.json").read_text())["selection"] == {"rule": "mean", "oracle": chosen}


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ("3", "holds 2 scored evaluations, fewer than --last 3: name fewer, or train with"),
        ("1", "an ensemble takes two runs or more, or --last 2 or more of one"),
        ("0", "--last 0: give 1 or more"),
    ],
)
def test_a_run_without_so_many_evaluations_is_refused(run2022: Path, tmp_path: Path, last: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        evaluation.main(["ensemble", "--runs", str(run2022), "--last", last, "--out", str(tmp_path / "out")])


def test_runs_are_combined_by_their_best_checkpoints(run2022: Path, scored2022: Path, tmp_path: Path) -> None:
    words = ["--runs", str(run2022), str(scored2022), "--out", str(tmp_path / "out")]
    assert evaluation.main(["ensemble", *words]) == 0
    alone, both = report(scored2022)["scorers"], json.loads((tmp_path / "out" / "report.json").read_text())["scorers"]
    own = {name: numbers["ids"] for name, numbers in alone["centroid"]["types"].items()}
    assert {name: numbers["ids"] for name, numbers in both["ensemble"]["types"].items()} == own  # one and the same run
