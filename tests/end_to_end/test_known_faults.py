"""A few recordings of faults in training: packed, learnt from, and never among what is normal, nor in the test."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

import eval as evaluation
import train_ddp
from asd.data.manifest import load_manifest
from asd.detector import read_detector
from asd.errors import UserError
from asd.run_folder import checkpoint
from asd.scorers.state import restored
from shards import verify
from tests.support.hooks import no_scoring
from tests.support.inline import score_inline
from tests.support.launch import TINY, losses, succeed
from tests.support.narrow import CONFIGS
from tests.support.resumable import cut

STEPS = 6
SCORERS = "evaluate.scorers=[fault_head, knn, softmax, {name: fused, members: [{name: fault_head}, {name: knn}]}]"
EXPOSED = ["task.name=outlier_exposure", "data.streams.fault_rows=3", "optim.lr=5e-5", "backbone.norm=sync"]


def words(shards: Path, folder: Path, *more: str) -> list[str]:
    few = ["train.epochs=null", f"train.steps={STEPS}", "checkpoint={every_steps: 1, keep_last: 100}"]
    return ["--config", str(TINY), f"data.shards={shards}", f"run.dir={folder}", *few, *more]


@pytest.fixture(scope="module")
def run(fault_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps; not to be written to."""
    folder = tmp_path_factory.mktemp("known") / "run"
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(words(fault_set, folder, *EXPOSED, SCORERS)) == 0
    return folder


def keys(path: Path) -> set[str]:
    with path.open(newline="") as rows:
        return {row["key"] for row in csv.DictReader(rows)}


def test_no_known_fault_is_scored_or_a_threshold_fitted_to(run: Path, fault_set: Path) -> None:
    assert verify.main([str(fault_set)]) == 0
    manifest = load_manifest(fault_set)
    known = set(manifest.strings("key", manifest.known_faults))
    folder = next((run / "evaluations").iterdir())
    tested, normal = keys(folder / "scores.csv"), keys(folder / "calibration.csv")
    assert (len(known), len(tested), len(normal)) == (8, 4 * 6, 4 * 12)
    assert not known & (tested | normal)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["primary"] == "fault_head"
    weights, _ = checkpoint.load_network(checkpoint.step_path(run / "checkpoints", STEPS))
    assert weights["head.weight"].shape == (4, 32)


def test_a_resumed_run_equals_an_unbroken_one(run: Path, fault_set: Path, tmp_path: Path, monkeypatch) -> None:
    score_inline(monkeypatch)
    folder = tmp_path / "run"
    cut(run, folder, step=2)
    assert train_ddp.main(words(fault_set, folder, *EXPOSED, SCORERS)) == 0
    assert losses(folder) == losses(run)
    last = [checkpoint.step_path(at / "checkpoints", STEPS) / "model.safetensors" for at in (folder, run)]
    assert last[0].read_bytes() == last[1].read_bytes()


def test_two_ranks_have_the_losses_of_one(fault_set: Path, tmp_path: Path) -> None:
    found = []
    for ranks in (1, 2):
        folder = tmp_path / f"run{ranks}"
        succeed(tmp_path / f"log{ranks}", words(fault_set, folder, *EXPOSED), ranks=ranks, prepare=no_scoring)
        found.append(losses(folder))
    assert list(found[0]) == list(range(1, STEPS + 1))
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_a_detector_judges_by_the_head(run: Path, fault_set: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "detector.pt", tmp_path / "found.csv"
    assert evaluation.main(["export", "--run", str(run), "--checkpoint", "last", "--out", str(out)]) == 0
    assert read_detector(out).scorers[0].label == "fault_head"
    evaluated = next((run / "evaluations").iterdir()) / "scores.csv"
    with evaluated.open(newline="") as rows:
        expected = {row["file"]: row for row in csv.DictReader(rows) if row["machine_type"] == "pump"}
    recordings = fault_set.parent / "recordings" / "pump" / "test"
    for scorer in ("fault_head", "fused"):
        more = ["--machine", "pump", "--scorer", scorer, "--out", str(table)]
        assert evaluation.main(["clips", "--detector", str(out), *more, str(recordings)]) in (0, 1)
        with table.open(newline="") as rows:
            found = {Path(row["file"]).name: float(row["score"]) for row in csv.DictReader(rows)}
        assert len(found) == 6
        for name, score in found.items():
            assert score == pytest.approx(float(expected[name][scorer]), rel=1e-3, abs=1e-4)


def test_a_run_that_leaves_them_out_says_so(fault_set: Path, tmp_path: Path, capsys) -> None:
    assert train_ddp.main([*words(fault_set, tmp_path / "run"), "--check"]) == 0
    said = capsys.readouterr().out
    assert "8 training clips are labelled anomaly and left out: scorer matched_filter" in said
    statistics = ["--config", str(CONFIGS["statistics"]), f"data.shards={fault_set}", f"run.dir={tmp_path / 'run'}"]
    assert train_ddp.main([*statistics, "--check"]) == 0 and TOLD in capsys.readouterr().out
    assert train_ddp.main([*words(fault_set, tmp_path / "run"), *EXPOSED, "--check"]) == 0
    assert "left out" not in capsys.readouterr().out


TOLD = "8 training clips are labelled anomaly: known faults of 4 of 4 machines, from which fused learns"


@pytest.fixture(scope="module")
def statistics(fault_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of configs/statistics.yaml as it is, and its detector; not to be written to."""
    folder = tmp_path_factory.mktemp("statistics")
    where = [f"data.shards={fault_set}", f"run.dir={folder / 'run'}", "data.resident=host"]
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(["--config", str(CONFIGS["statistics"]), *where]) == 0
    export = ["export", "--run", str(folder / "run"), "--out", str(folder / "detector.pt"), "--scorer", "fused"]
    assert evaluation.main(export) == 0
    return folder


def test_statistics_learn_from_them_without_training(statistics: Path, fault_set: Path, tmp_path: Path) -> None:
    """The detector, which embeds them once more, gives the scores of the evaluation."""
    folder, table = statistics / "run/evaluations/step_00000000", tmp_path / "found.json"
    assert TOLD in json.loads((folder / "report.json").read_text(encoding="utf-8"))["notes"]
    manifest = load_manifest(fault_set)
    known = set(manifest.strings("key", manifest.known_faults))
    assert not known & (keys(folder / "scores.csv") | keys(folder / "calibration.csv"))
    recordings = fault_set.parent / "recordings" / "pump" / "test"
    words = ["--machine", "pump", "--out", str(table), str(recordings)]
    assert evaluation.main(["clips", "--detector", str(statistics / "detector.pt"), *words]) == 0
    with (folder / "scores.csv").open(newline="") as rows:
        expected = {row["file"]: float(row["fused"]) for row in csv.DictReader(rows) if row["machine_type"] == "pump"}
    found = json.loads(table.read_text(encoding="utf-8"))["clips"]
    assert len(found) == len(expected) == 6
    for row in found:
        assert row["score"] == pytest.approx(expected[Path(row["file"]).name], rel=1e-3, abs=1e-3)
        assert {name for name in row["members"] if name.startswith("matched_filter")} >= {"matched_filter_mean_level"}


def test_a_detector_that_is_calibrated_learns_from_missed_faults(
    statistics: Path, fault_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without any it says that it knows of no fault any more."""
    trained = fault_set.parent / "recordings" / "pump" / "train"
    normal, faults = (sorted(trained.glob(f"{label}_*.wav")) for label in ("normal", "anomaly"))
    words = ["--detector", str(statistics / "detector.pt"), "--machine", "pump", "--id", "00"]
    for name, missed in (("told", ["--missed", *faults]), ("untold", [])):
        out = tmp_path / f"{name}.pt"
        command = ["calibrate", *map(str, normal), *words, "--out", str(out), *map(str, missed)]
        assert evaluation.main(command) == 0
        file = read_detector(out)
        own = [str(machine) for machine in file.classes].index("pump/00")
        known = restored(file.scorers[0].config, {own: file.scorers[0].state[own]}).with_faults
        assert known == ([own] if missed else [])
        assert any("had learnt from known faults" in line for line in caplog.messages) == (not missed)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["data.streams.fault_rows=3"], "task classification does not learn from known faults: use outlier_exposure"),
        (["evaluate.scorers=[fault_head]"], "fault_head reads faults, which task classification does not give"),
        ([*EXPOSED, "data.streams.fault_rows=16"], "leaves the machines' own clips 0 of 16 rows"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(fault_set: Path, tmp_path: Path, more, said) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        train_ddp.main([*words(fault_set, tmp_path / "run"), *more, "--check"])
