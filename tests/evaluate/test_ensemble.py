"""Ensembles of runs: averages, choice by machine type, thresholds, files."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import hmean
from sklearn.metrics import roc_auc_score

import eval as evaluation
from asd.evaluate.store import CALIBRATION_FILE
from asd.metrics import ClipScores, read_scores, scores_csv
from asd.metrics.decisions import machines_of
from asd.report import Header, write_report
from tests.support.ensembles import MACHINES, SCALES, Runs, ensemble, write


def written(out: Path) -> dict[str, float]:
    clips = read_scores(out / "scores.csv")
    assert list(clips.scores) == ["ensemble"]
    return dict(zip(clips.key, clips.scores["ensemble"].tolist(), strict=True))


@pytest.mark.parametrize(("method", "average"), [("mean", statistics.fmean), ("median", statistics.median)])
def test_scores_are_averaged_on_the_scale_of_normal_clips(runs, tmp_path, method, average):
    report = ensemble(tmp_path / "out", runs.folders(*SCALES), "--method", method)
    z = [runs.z(name) for name in SCALES]
    assert written(tmp_path / "out") == pytest.approx({key: average([own[key] for own in z]) for key in z[0]})
    everyone = runs.folders(*SCALES)
    assert report["ensemble"] == {"method": method, "runs": {"fan": everyone, "valve": everyone}}
    assert (report["layout"], report["primary"]) == ("dcase2022", "ensemble")
    assert report["selection"] == {"rule": method, "oracle": False}


def quality(runs: Runs, name: str, machine_type: str) -> float:
    """The official score of the machine type alone: of the normals of a domain against all anomalies, and of pAUC."""
    clips, z = runs.test[name], runs.z(name)
    parts = []
    for machine in MACHINES:
        rows = np.flatnonzero([own == machine for own in machines_of(clips)])
        if machine[0] == machine_type:
            label, score = clips.label[rows], np.array([z[clips.key[row]] for row in rows])
            for domain in ("source", "target"):
                met = np.array([clips.domain[row] == domain or clips.label[row] == 1 for row in rows])
                parts.append(roc_auc_score(label[met], score[met]))
            parts.append(roc_auc_score(label, score, max_fpr=0.1))
    return hmean(parts)


@pytest.mark.parametrize("k", [1, 2])
def test_topk_takes_the_best_of_each_machine_type(runs, tmp_path, k):
    report = ensemble(tmp_path / "out", runs.folders(*SCALES), "--method", "topk", "--k", str(k))
    best = {t: sorted(SCALES, key=lambda name: -quality(runs, name, t))[:k] for t in ("fan", "valve")}
    assert (best["fan"][0], best["valve"][0]) == ("b", "a")  # one is good at fans, the other one at valves
    z = {name: runs.z(name) for name in SCALES}
    expected = {
        key: statistics.fmean([z[name][key] for name in best[machine_type]])
        for key, machine_type in zip(runs.test["a"].key, runs.test["a"].machine_type, strict=True)
    }
    assert written(tmp_path / "out") == pytest.approx(expected)
    assert report["ensemble"]["runs"] == {t: runs.folders(*names) for t, names in best.items()}
    assert report["ensemble"]["k"] == k
    assert report["selection"]["oracle"]
    assert "ORACLE" in (tmp_path / "out" / "report.md").read_text()


def test_the_best_is_the_best_by_the_rule_of_the_year(tmp_path):
    """Good at source clips and poor at target clips: the better run in 2020, the worse one since there are domains."""
    labels = np.array(([0] * 10 + [1] * 10) * 2)
    one_sided = np.concatenate([np.arange(10.0), np.full(10, 20.0), np.arange(10.0) + 100, np.full(10, 101.0)])
    even = np.concatenate([np.arange(10.0), np.full(10, 4.5), np.arange(10.0), np.full(10, 4.5)])
    chosen = {}
    for layout in ("dcase2020", "dcase2021", "dcase2022"):
        made = Runs(tmp_path / layout)
        for name, scores in (("one_sided", one_sided), ("even", even)):
            domains = [domain if layout != "dcase2020" else "" for domain in ("source", "target") for _ in range(20)]
            words = [("normal", "anomaly")[label] for label in labels]
            files = [
                f"section_00_{d}_test_{w}_{n:04d}.wav" for n, (d, w) in enumerate(zip(domains, words, strict=True))
            ]
            if layout == "dcase2020":  # every domain an ID of its own
                files = [f"{word}_id_{'00' if n < 20 else '01'}_{n:08d}.wav" for n, word in enumerate(words)]
            ids = ["00"] * 20 + ["01" if layout == "dcase2020" else "00"] * 20
            clips = ClipScores(files, files, ["fan"] * 40, ids, domains, labels, {"knn": scores})
            normal = clips.select(np.flatnonzero(labels == 0))
            write_report(made.root / name, clips, Header(layout=layout, primary="knn"))
            (made.root / name / CALIBRATION_FILE).write_text(scores_csv(normal))
        words = ["--method", "topk", "--k", "1"]
        report = ensemble(made.root / "out", made.folders("one_sided", "even"), *words)
        chosen[layout] = Path(report["ensemble"]["runs"]["fan"][0]).name
    assert chosen == {"dcase2020": "one_sided", "dcase2021": "even", "dcase2022": "even"}


def test_more_than_there_are_is_all_of_them(runs, tmp_path):
    ensemble(tmp_path / "all", runs.folders(*SCALES), "--method", "topk", "--k", "9")
    ensemble(tmp_path / "mean", runs.folders(*SCALES), "--method", "mean")
    assert written(tmp_path / "all") == pytest.approx(written(tmp_path / "mean"))


def test_runs_of_single_machine_types_are_put_side_by_side(runs, tmp_path):
    write(runs, "fans", MACHINES[:2])
    write(runs, "valves", MACHINES[2:])
    report = ensemble(tmp_path / "out", runs.folders("a", "fans", "valves"))
    z = {name: runs.z(name) for name in ("a", "fans", "valves")}
    alone = z["fans"] | z["valves"]
    assert written(tmp_path / "out") == pytest.approx({key: (own + alone[key]) / 2 for key, own in z["a"].items()})
    assert report["ensemble"]["runs"] == {"fan": runs.folders("a", "fans"), "valve": runs.folders("a", "valves")}


def test_another_scorer_than_the_primary_one(runs, tmp_path):
    ensemble(tmp_path / "out", runs.folders("a", "b"), "--scorer", "other")
    z = [runs.z(name, "other") for name in ("a", "b")]
    assert written(tmp_path / "out") == pytest.approx({key: (z[0][key] + z[1][key]) / 2 for key in z[0]})


def test_score_files_give_the_score_of_the_report(runs, tmp_path):
    report = ensemble(tmp_path / "out", runs.folders(*SCALES), "--percent", "80")
    words = ["--layout", "dcase2022", "--scores", str(tmp_path / "out/submission"), "--ground-truth", "names"]
    assert evaluation.main(["report", *words, "--json", str(tmp_path / "numbers.json")]) == 0
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers == report["official"]["ensemble"]
    assert numbers["official_score"] > 0.5
    assert numbers["machines"]["fan"]["sections"]["01"]["f1_source"] is not None
    clips, z = runs.test["a"], written(tmp_path / "out")
    rows = [row for row, machine in enumerate(machines_of(clips)) if machine == ("fan", "01")]
    auc = roc_auc_score(clips.label[rows], [z[clips.key[row]] for row in rows])
    assert numbers["machines"]["fan"]["sections"]["01"]["auc"] == pytest.approx(auc)


def test_normal_clips_of_the_ensemble_itself_give_the_threshold(runs, tmp_path):
    """At 50 percent about half of clips that are as normal as those; at 99 percent few of them."""
    alarms = {}
    for percent in (50, 99):
        ensemble(tmp_path / str(percent), runs.folders(*SCALES), "--percent", str(percent))
        lines = (
            (tmp_path / str(percent) / "submission/decision_result_fan_section_01_test.csv").read_text().splitlines()
        )
        normal = [line for line in lines if "normal" in line]
        alarms[percent] = sum(line.endswith(",1") for line in normal) / len(normal)
    assert alarms[99] <= 0.2
    assert 0.2 < alarms[50] < 0.8


def test_decisions_and_how_their_thresholds_were_found_lie_beside_the_scores(runs, tmp_path):
    report = ensemble(tmp_path / "out", runs.folders("a", "b"))
    scores, decided = (read_scores(tmp_path / "out" / name) for name in ("scores.csv", "decisions.csv"))
    assert decided.key == scores.key
    assert {(t, i) for t, i in MACHINES} == {tuple(name.split("/")) for name in report["thresholds"]}
    for machine, score, decision in zip(
        machines_of(scores), scores.scores["ensemble"], decided.scores["decision"], strict=True
    ):
        found = report["thresholds"]["/".join(machine)]
        assert decision == (score > found["value"])
        assert (found["clips"], found["recordings"]) == (24, 24)
    assert "## Thresholds of ensemble" in (tmp_path / "out" / "report.md").read_text()


def test_calibration_clips_need_not_be_the_same(runs, tmp_path):
    """Each run has a validation split of its own; what the first one has is averaged over those that have it, too."""
    fewer = runs.calibration["b"].select(np.arange(0, len(runs.calibration["b"]), 2))
    runs.calibration["b"] = fewer
    (tmp_path / "b" / CALIBRATION_FILE).write_text(scores_csv(fewer))
    report = ensemble(tmp_path / "out", runs.folders("a", "b"))
    z = [runs.z(name) for name in ("a", "b")]
    assert written(tmp_path / "out") == pytest.approx({key: (z[0][key] + z[1][key]) / 2 for key in z[0]})
    assert report["official"]["ensemble"]["harmonic_mean"]["f1_source"] is not None


def test_clips_whose_labels_are_hidden_are_submitted(tmp_path):
    made = Runs(tmp_path)
    for name in ("a", "b"):
        write(made, name, hidden=True)
    report = ensemble(tmp_path / "out", made.folders("a", "b"), "--method", "topk", "--k", "2")
    assert report["official"] == {"ensemble": None}
    assert len(list((tmp_path / "out" / "submission").glob("anomaly_score_*.csv"))) == 3
    assert len(list((tmp_path / "out" / "submission").glob("decision_result_*.csv"))) == 3


def test_what_a_member_owes_to_the_test_clips_or_to_flips_is_said(runs, tmp_path):
    write(runs, "oracle", selection={"rule": "oracle", "oracle": True})
    write(runs, "flipped", flip=["fan/01"])
    report = ensemble(tmp_path / "out", runs.folders("a", "oracle", "flipped"))
    assert report["selection"]["oracle"]
    assert report["warnings"] == [
        {
            "code": "flipped",
            "text": f"{tmp_path / 'flipped'}: the scores of fan/01 are inverted (evaluate.flip)",
        }
    ]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "ORACLE" in text
    assert "fan/01 are inverted" in text


def test_a_second_time_replaces_the_first(runs, tmp_path):
    ensemble(tmp_path / "out", runs.folders("a", "b"))
    assert "k" in ensemble(tmp_path / "out", runs.folders("a", "c"), "--method", "topk")["ensemble"]
