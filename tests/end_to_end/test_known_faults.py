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
    assert train_ddp.main([*words(fault_set, tmp_path / "run"), *EXPOSED, "--check"]) == 0
    assert "left out" not in capsys.readouterr().out


def test_statistics_learn_from_them_without_training(fault_set: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """By the config as it is; its detector, which embeds them once more, gives the scores of its evaluation."""
    score_inline(monkeypatch)
    told = "8 training clips are labelled anomaly: known faults of 4 of 4 machines, from which fused learns"
    command = ["--config", str(CONFIGS["statistics"]), f"data.shards={fault_set}", f"run.dir={tmp_path / 'run'}"]
    assert train_ddp.main([*command, "--check"]) == 0 and told in capsys.readouterr().out
    assert train_ddp.main([*command, "data.resident=host"]) == 0
    folder = tmp_path / "run/evaluations/step_00000000"
    assert told in json.loads((folder / "report.json").read_text(encoding="utf-8"))["notes"]
    known = set(load_manifest(fault_set).strings("key", load_manifest(fault_set).known_faults))
    assert not known & (keys(folder / "scores.csv") | keys(folder / "calibration.csv"))

    out, table = tmp_path / "detector.pt", tmp_path / "found.json"
    assert evaluation.main(["export", "--run", str(tmp_path / "run"), "--out", str(out), "--scorer", "fused"]) == 0
    recordings = fault_set.parent / "recordings" / "pump" / "test"
    words = ["--machine", "pump", "--out", str(table), str(recordings)]
    assert evaluation.main(["clips", "--detector", str(out), *words]) == 0
    with (folder / "scores.csv").open(newline="") as rows:
        expected = {row["file"]: float(row["fused"]) for row in csv.DictReader(rows) if row["machine_type"] == "pump"}
    found = json.loads(table.read_text(encoding="utf-8"))["clips"]
    assert len(found) == len(expected) == 6
    for row in found:
        assert row["score"] == pytest.approx(expected[Path(row["file"]).name], rel=1e-3, abs=1e-3)
        assert {name for name in row["members"] if name.startswith("matched_filter")} >= {"matched_filter_mean_level"}


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
