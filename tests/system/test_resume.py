"""A run that was stopped and goes on is the run that was never stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from asd import checkpoint
from tests.system.hooks import no_scoring
from tests.system.launch import Job, losses, run, succeed, train_words
from tests.system.test_bad_input import refused

# Dropout, two ranks, five steps an epoch, every step kept.
DROPOUT = "backbone={name: resnet50_ir, width: 8, depths: [1, 1, 1, 1], embedding: 32, dropout: 0.4, norm: batch}"
WORDS = [DROPOUT, "checkpoint.every_steps=1", "checkpoint.keep_last=100"]


@pytest.fixture(scope="module")
def unbroken(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of ten steps in one go."""
    place = tmp_path_factory.mktemp("unbroken")
    train(small_set, place / "run")
    return place / "run"


def train(shards: Path, folder: Path, *words: str, ranks: int = 2) -> str:
    """Train in folder with two ranks; what rank 0 said."""
    arguments = train_words(shards, folder, *WORDS, *words)
    return succeed(folder.parent / "log", arguments, ranks=ranks, prepare=no_scoring).out[0]


def cut(whole: Path, folder: Path, step: int) -> None:
    """A copy of a run as it was when it had saved a step: what came later is lost."""
    shutil.copytree(whole, folder)
    for later in checkpoint.complete_steps(folder / "checkpoints"):
        if later > step:
            shutil.rmtree(checkpoint.step_path(folder / "checkpoints", later))
    shutil.rmtree(folder / "evaluations")


def weights(folder: Path) -> bytes:
    return (checkpoint.step_path(folder / "checkpoints", 10) / "model.safetensors").read_bytes()


@pytest.mark.parametrize("step", [1, 5, 8])
def test_goes_on_from_any_step(small_set: Path, unbroken: Path, tmp_path: Path, step: int) -> None:
    folder = tmp_path / "run"
    cut(unbroken, folder, step)
    assert f"resuming from step {step}\n" in train(small_set, folder)
    assert losses(folder) == losses(unbroken)
    assert weights(folder) == weights(unbroken)


def test_goes_on_with_another_number_of_ranks(small_set: Path, tmp_path: Path) -> None:
    words = ["checkpoint.every_steps=1", "checkpoint.keep_last=100"]
    whole, folder = tmp_path / "whole", tmp_path / "run"
    succeed(tmp_path / "log", train_words(small_set, whole, *words), ranks=1, prepare=no_scoring)
    cut(whole, folder, 3)
    done = succeed(tmp_path / "log", train_words(small_set, folder, *words), ranks=2, prepare=no_scoring)
    assert "resuming from step 3, saved by 1 ranks, now 2\n" in done.out[0]
    assert losses(folder) == pytest.approx(losses(whole), rel=1e-4)


def test_a_finished_run_does_nothing(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    before = {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").rglob("*")}
    assert "finished at step 10" in train(small_set, folder)
    assert {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").rglob("*")} == before
    assert (folder / "metrics.jsonl").read_text() == (unbroken / "metrics.jsonl").read_text()


@pytest.mark.parametrize("every_epochs", [1, 2, 7], ids="every {} epochs".format)
def test_a_lost_evaluation_is_made_up_for(small_set: Path, unbroken: Path, tmp_path: Path, every_epochs: int) -> None:
    """The process died between saving and embedding; the last step is evaluated whatever the interval says."""
    folder = tmp_path / "run"
    cut(unbroken, folder, 10)
    train(small_set, folder, f"evaluate.every_epochs={every_epochs}")
    assert (folder / "evaluations" / "step_00000010" / "evaluation.json").exists()
    assert losses(folder) == losses(unbroken)


def test_an_unscored_evaluation_is_scored(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    words = train_words(small_set, folder, *WORDS, "evaluate.scorers=[{name: centroid}]")
    done = succeed(tmp_path / "log", words, ranks=2)
    assert "step 10 scored in" in done.out[0]
    assert (folder / "evaluations" / "step_00000010" / "report.json").exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [("backbone.width=4", "another network"), ("optim.name=sgd", "another optimizer")],
)
def test_another_system_does_not_go_on(small_set: Path, unbroken: Path, tmp_path: Path, word: str, said: str) -> None:
    folder = tmp_path / "run"
    cut(unbroken, folder, 5)
    kept = (folder / "config.yaml").read_text()
    line = refused(run(tmp_path / "log", train_words(small_set, folder, *WORDS, word), ranks=2))
    assert said in line
    assert (folder / "config.yaml").read_text() == kept
    assert len(losses(folder)) == 10
