"""The multi-branch network on classes by domain and attributes, from the first step to the decision on a recording."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

import eval as evaluation
import train_ddp
from asd.commands.angles import angles_of
from asd.commands.open_run import load_run
from asd.detector import read_detector
from asd.errors import UserError
from asd.run_folder import checkpoint
from tests.support.inline import score_inline
from tests.support.launch import losses
from tests.support.narrow import CONFIGS, words_of
from tests.support.resumable import cut

STEPS = 6
MACHINES = "data.machine_types=[fan, valve]"


def train(shards: Path, folder: Path, *words: str) -> None:
    few = [f"train.steps={STEPS}", "checkpoint={every_steps: 1, keep_last: 100}", MACHINES, f"run.dir={folder}"]
    narrow = [*words_of("multi_branch_dcase2022", shards, shards), *few, *words]
    assert train_ddp.main(["--config", str(CONFIGS["multi_branch_dcase2022"]), *narrow]) == 0


@pytest.fixture(scope="module")
def run(factory2022: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps; not to be written to."""
    folder = tmp_path_factory.mktemp("finer") / "run"
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        train(factory2022, folder)
    return folder


def meta_of(run: Path) -> dict:
    return json.loads((checkpoint.step_path(run / "checkpoints", STEPS) / "meta.json").read_text(encoding="utf-8"))


def test_classes_are_finer_and_reports_go_by_machine(run: Path) -> None:
    classes = meta_of(run)["classes"]
    assert len(classes) > 8  # two types of two sections, each of two domains
    assert {name.split()[0] for name in classes} == {"fan/00", "fan/01", "valve/00", "valve/01"}
    assert {name.split()[1] for name in classes} == {"source", "target"}
    report = json.loads(next((run / "evaluations").glob("*/report.json")).read_text(encoding="utf-8"))
    assert report["classes"] == 4
    assert {"domain_knn", "softmax"} <= set(report["scorers"])


def test_a_resumed_run_equals_an_unbroken_one(run: Path, factory2022: Path, tmp_path: Path, monkeypatch) -> None:
    """Also the mixtures: each clip's weight, and which clips stay as they are."""
    score_inline(monkeypatch)
    folder = tmp_path / "run"
    cut(run, folder, step=2)
    train(factory2022, folder)
    assert losses(folder) == losses(run)
    last = [checkpoint.step_path(at / "checkpoints", STEPS) / "model.safetensors" for at in (folder, run)]
    assert last[0].read_bytes() == last[1].read_bytes()


def test_a_run_of_machines_does_not_go_on_with_finer_classes(run: Path, factory2022: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    with pytest.raises(UserError, match=r"another data\.classes \(attributes, now machine\)"):
        train(factory2022, folder, "data.classes=machine")
    assert len(losses(folder)) == STEPS


def test_a_detector_of_it_judges_recordings(run: Path, factory2022: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "detector.pt", tmp_path / "found.csv"
    assert evaluation.main(["export", "--run", str(run), "--checkpoint", "last", "--out", str(out)]) == 0
    file = read_detector(out)
    assert len(file.machine_of) == len(meta_of(run)["classes"])
    assert set(file.machine_of) == set(range(4))
    recordings = factory2022.parent / "recordings" / "fan" / "test"
    for scorer in ("domain_knn", "softmax"):
        words = ["--detector", str(out), "--machine", "fan", "--id", "00", "--scorer", scorer, "--out", str(table)]
        assert evaluation.main(["clips", *words, str(recordings)]) in (0, 1)
        with table.open(newline="") as rows:
            found = list(csv.DictReader(rows))
        assert len(found) == len(list(recordings.glob("*.wav")))
        assert all(row["decision"] in ("normal", "anomaly") for row in found)


def test_angles_to_its_centres_are_refused(run: Path) -> None:
    with pytest.raises(UserError, match="no class centres to measure angles to"):
        angles_of(load_run(run, []), "last")
