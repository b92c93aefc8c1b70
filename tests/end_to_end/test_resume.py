"""A run that lost what came after some checkpoint goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from asd.commands.train import check
from asd.config.load import load_config
from asd.errors import UserError
from asd.run_folder import checkpoint
from tests.end_to_end.test_bad_input import refused
from tests.support.hooks import no_scoring
from tests.support.launch import TINY, losses, run, succeed, train_words
from tests.support.resumable import STEPS, cut, last_weights, train, words


@pytest.mark.parametrize("step", [1, 5, 28])
def test_goes_on_from_any_step(small_set: Path, unbroken: Path, tmp_path: Path, step: int) -> None:
    folder = tmp_path / "run"
    cut(unbroken, folder, step)
    assert f"resuming from step {step}\n" in train(small_set, folder)
    assert losses(folder) == losses(unbroken)
    assert last_weights(folder) == last_weights(unbroken)


def test_goes_on_with_another_number_of_ranks(small_set: Path, tmp_path: Path) -> None:
    arguments = ["checkpoint={every_steps: 1, keep_last: 100}", "optim.lr=5e-5"]
    whole, folder = tmp_path / "whole", tmp_path / "run"
    succeed(tmp_path / "log", train_words(small_set, whole, *arguments), ranks=1, prepare=no_scoring)
    cut(whole, folder, 3)
    done = succeed(tmp_path / "log", train_words(small_set, folder, *arguments), ranks=2, prepare=no_scoring)
    assert "resuming from step 3, saved by 1 ranks, now 2\n" in done.out[0]
    assert losses(folder) == pytest.approx(losses(whole), rel=1e-4)


def test_a_newest_checkpoint_with_damaged_bytes_is_set_aside(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    """Sizes are right, bytes are not: the run goes back one step, says so, and saves the damaged step again."""
    folder = tmp_path / "run"
    cut(unbroken, folder, 5)
    state = folder / "checkpoints" / "step_00000005" / "state.json"
    state.write_bytes(b"x" * state.stat().st_size)
    said = train(small_set, folder)
    assert "moved to damaged" in said
    assert "resuming from step 4\n" in said
    assert (folder / "checkpoints" / "damaged_step_00000005" / "state.json").read_bytes().startswith(b"xxx")
    assert losses(folder) == losses(unbroken)
    assert last_weights(folder) == last_weights(unbroken)


def without_sight_on_rank_1() -> None:
    """Of the checkpoints, as on a node without the run folder."""
    no_scoring()
    load = checkpoint.load
    if os.environ.get("RANK") == "1":
        checkpoint.load = lambda folder, device: load(folder.with_name("nowhere"), device)


def test_what_one_rank_alone_cannot_read_is_left_alone(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    """To go back, checkpoint by checkpoint, to the first step would lose the run."""
    folder = tmp_path / "run"
    cut(unbroken, folder, 5)
    kept = sorted((folder / "checkpoints").iterdir())
    done = run(tmp_path / "log", words(small_set, folder), ranks=2, prepare=without_sight_on_rank_1)
    assert done.codes == [2, 2], done
    assert "nowhere is not a complete checkpoint" in done.err[0]
    assert "but rank 0 can read it: make the run folder visible to all nodes" in done.err[0]
    assert sorted((folder / "checkpoints").iterdir()) == kept


def test_a_finished_run_does_nothing(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    before = {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").rglob("*")}
    assert f"finished at step {STEPS}" in train(small_set, folder)
    assert {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").rglob("*")} == before
    assert (folder / "metrics.jsonl").read_text() == (unbroken / "metrics.jsonl").read_text()


@pytest.mark.parametrize("every_epochs", [2, 7], ids="every {} epochs".format)
def test_a_lost_evaluation_is_made_up_for(small_set: Path, unbroken: Path, tmp_path: Path, every_epochs: int) -> None:
    """The process died between saving and embedding; the last step is evaluated whatever the interval says."""
    folder = tmp_path / "run"
    cut(unbroken, folder, STEPS)
    train(small_set, folder, f"evaluate.every_epochs={every_epochs}")
    assert [path.name for path in (folder / "evaluations").glob("*/evaluation.json")] == ["evaluation.json"]
    assert losses(folder) == losses(unbroken)


def test_unscored_evaluations_are_scored(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    for early in ("step_00000010", "step_00000020"):
        shutil.rmtree(folder / "evaluations" / early)
    done = succeed(tmp_path / "log", words(small_set, folder), ranks=2)
    assert f"step {STEPS} scored in" in done.out[0]
    left = {path.name for path in (folder / "evaluations" / f"step_{STEPS:08d}").iterdir()}
    assert left == {
        "evaluation.json", "figures", "report.json", "report.md", "scores.csv", "calibration.csv", "decisions.csv",
        "scoring.log",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("backbone.width=4", "another backbone.width (8, now 4)"),
        ("optim.name=sgd", "another optim.name (adam, now sgd)"),
        ("frontend.n_fft=512", "another frontend.n_fft (1024, now 512)"),
        ("loss.margin=0.3", "another loss.margin (0.05, now 0.3)"),
        ("mixup=null", "another mixup ({"),
        ("data.crop_s=0.4", "another data.crop_s (0.5, now 0.4)"),
    ],
)
def test_another_system_does_not_go_on(small_set: Path, unbroken: Path, tmp_path: Path, word: str, said: str) -> None:
    folder = tmp_path / "run"
    cut(unbroken, folder, 5)
    kept = (folder / "config.yaml").read_text()
    assert said in refused(run(tmp_path / "log", words(small_set, folder, word), ranks=2))
    assert (folder / "config.yaml").read_text() == kept
    assert len(losses(folder)) == STEPS


def test_a_checkpoint_knows_its_set_by_itself(
    small_set: Path, uneven_set: Path, unbroken: Path, tmp_path: Path
) -> None:
    """Where run.json is lost."""
    folder = tmp_path / "run"
    cut(unbroken, folder, 5)
    (folder / "run.json").unlink()
    said = refused(run(tmp_path / "log", words(uneven_set, folder), ranks=2))
    assert "step_00000005 belongs to a run with another fingerprint" in said
    meta = json.loads((folder / "checkpoints" / "step_00000005" / "meta.json").read_text(encoding="utf-8"))
    assert (meta["global_batch"], meta["seed"]) == (16, 0)


def test_check_knows_that_nothing_may_go_on(small_set: Path, unbroken: Path) -> None:
    config = load_config(TINY, words(small_set, unbroken, "resume=never")[2:])
    with pytest.raises(UserError, match="holds checkpoints and resume=never"):
        check(config, 1)


def test_a_run_that_has_saved_nothing_may_begin_anew(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    """Such as one that failed at once, with a learning rate that was too high."""
    folder = tmp_path / "run"
    cut(unbroken, folder, 0)
    train(small_set, folder, "optim.lr=1e-5", "train.epochs=1")
    assert list(losses(folder)) == [1, 2, 3, 4, 5]


def test_what_changed_is_said(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    cut(unbroken, folder, 29)
    said = train(small_set, folder, "train.epochs=7", "train.steps=null", "evaluate.first_s=0.7")
    changed = "train.epochs (6, now 7), evaluate.first_s (None, now 0.7)"
    assert f"resuming from step 29\nchanged since then: {changed}\n" in said
    assert max(losses(folder)) == 35
