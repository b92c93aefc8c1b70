"""Scores that come too slowly, or never: the disk does not fill up, and the run says so."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from asd.evaluate.background import BackgroundScoring
from asd.evaluate.history import best_step, most_to_keep, unscored_steps
from asd.loggers import LoggingConfig
from asd.run_folder import checkpoint
from asd.run_folder.paths import RunFolder
from tests.support.hooks import no_scoring
from tests.support.launch import Job, records, succeed, train_words
from tests.support.patience import wait_for
from tests.support.resumable import STEPS, words

EVERY_EPOCH = ["evaluate={every_epochs: 1, max_unscored: 3, scorers: [{name: centroid}]}"]
BY_WATCHER = ["evaluate={every_epochs: 1, max_unscored: 3, by_watcher: true}", "checkpoint.keep_last=1"]


def endless_scoring() -> None:
    """Of whatever is submitted, until the process is asked to end."""
    BackgroundScoring._score = until_stopped  # type: ignore[method-assign]


def until_stopped(self: BackgroundScoring, step: int) -> None:
    while not self._stopped:
        time.sleep(0.05)


def alerts(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["alert/unscored"]) for line in records(folder) if "alert/unscored" in line]


def embedded(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("evaluations/*/embeddings.safetensors"))


def test_scoring_that_falls_behind_fills_no_disk(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    job = Job(tmp_path / "log", train_words(small_set, folder, *EVERY_EPOCH, "train.epochs=8"), ranks=2,
              prepare=endless_scoring)  # fmt: skip
    wait_for(lambda: (RunFolder(folder).evaluation(40) / "evaluation.json").exists() and alerts(folder))
    wait_for(lambda: len(embedded(folder)) == 3)
    job.signal(signal.SIGTERM)
    done = job.wait()
    assert done.codes == [0, 0], done
    assert alerts(folder)[0][1] == 1.0
    assert "warning: alert unscored at step" in done.err[0]
    left = unscored_steps(RunFolder(folder))
    assert {5, 40, best_step(RunFolder(folder), "clean")} >= set(left) - {35} and len(left) == 3
    gone = [line for line in done.err[0].splitlines() if "stays unscored (evaluate.max_unscored=3)" in line]
    assert len(gone) == 5
    kept = checkpoint.complete_steps(folder / "checkpoints")
    assert set(left) <= set(kept) and len(kept) <= 4, "the last two, the best, and those that wait"


def test_a_watcher_that_never_comes_fills_no_disk(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = succeed(tmp_path / "log", train_words(small_set, folder, *BY_WATCHER, "train.epochs=8"))
    assert checkpoint.complete_steps(folder / "checkpoints") == [30, 35, 40]
    assert "to be scored: steps 30, 35, 40; python eval.py watch" in done.out[0]
    (line,) = [line for line in done.err[0].splitlines() if line.startswith("warning: alert unscored at step")]
    assert line.endswith("start python eval.py watch on the run")
    assert json.loads((folder / "status.json").read_text(encoding="utf-8"))["unscored"] == 3


def test_a_watcher_embeds_no_more_than_it_can_score(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    succeed(tmp_path / "log", train_words(small_set, folder, *BY_WATCHER, "train.epochs=3"))
    watch = ["watch", "--run", str(folder), "--poll", "0.05"]
    job = Job(tmp_path / "watch", watch, script="eval", prepare=endless_scoring)
    wait_for(lambda: len(unscored_steps(RunFolder(folder))) == 2)
    time.sleep(2)  # of the third there is nothing yet, however long that takes
    assert len(embedded(folder)) == 2
    job.signal(signal.SIGTERM)
    assert job.wait().codes == [0]


@pytest.mark.parametrize(("free", "kept"), [(300, 10), (299, 3), (200, 3), (199, 2), (99, 1), (0, 1)])
def test_a_disk_that_fills_up_holds_fewer_that_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, kept: int
) -> None:
    """The newest of four takes 300 bytes: so many must be free, or become so by what the oldest leave."""
    folder = RunFolder(tmp_path)
    for step in range(1, 5):
        folder.evaluation(step).mkdir(parents=True)
        (folder.evaluation(step) / "evaluation.json").touch()
        (folder.evaluation(step) / "embeddings.safetensors").write_bytes(bytes(300 if step == 4 else 100))
    monkeypatch.setattr("asd.evaluate.history._is_current", lambda *_: True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert most_to_keep(folder, 10) == kept
    assert most_to_keep(folder, 2) == min(kept, 2)
    folder.evaluation(5).mkdir()  # embedded and scored meanwhile
    (folder.evaluation(5) / "evaluation.json").touch()
    assert most_to_keep(folder, 10) == kept


def outdate(folder: Path, step: int) -> None:
    path = RunFolder(folder).evaluation(step) / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"format": 0}), encoding="utf-8")


def test_an_evaluation_of_another_version_is_scored_again_once(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    """One that has its checkpoint; the other one is no reason to keep a checkpoint, or to try at every start."""
    folder = shutil.copytree(unbroken, tmp_path / "run")
    for step in (10, 20):
        outdate(folder, step)
    shutil.rmtree(checkpoint.step_path(folder / "checkpoints", 10))
    said = [succeed(tmp_path / "log", words(small_set, folder), ranks=2) for _ in "12"]
    scored = [[f"step {step} scored in" in done.out[0] for step in (10, 20, STEPS)] for done in said]
    assert scored == [[False, True, True], [False, False, False]]
    assert not said[0].err[0] and not said[1].err[0]
    weights = checkpoint.step_path(Path("checkpoints"), STEPS) / "model.safetensors"
    assert (folder / weights).read_bytes() == (unbroken / weights).read_bytes()


def test_one_whose_checkpoint_is_damaged_holds_no_training_up(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(unbroken, tmp_path / "run")
    outdate(folder, 20)
    damaged = checkpoint.step_path(folder / "checkpoints", 20) / "model.safetensors"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    done = succeed(tmp_path / "log", words(small_set, folder), prepare=no_scoring)
    assert done.err[0].startswith(f"warning: {damaged.parent} cannot be read (")
    assert done.err[0].endswith("its sha256 differs): step 20 stays unscored\n")


@pytest.mark.parametrize(("under_way", "left"), [(True, [1, 4, 5]), (False, [3, 4, 5])])
def test_what_is_being_scored_and_the_best_are_spared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, under_way: bool, left: list[int]
) -> None:
    """Step 1 is under way, or has failed as the others did; step 5 is the best."""
    if under_way:
        monkeypatch.setattr(BackgroundScoring, "_score", until_stopped)
    else:
        monkeypatch.setattr(BackgroundScoring, "_score", lambda self, step: None)
    monkeypatch.setattr("asd.evaluate.history._is_current", lambda *_: True)
    folder = RunFolder(tmp_path)
    scoring = BackgroundScoring(folder, tmp_path, LoggingConfig())
    for step in range(1, 6):
        folder.evaluation(step).mkdir(parents=True)
        (folder.evaluation(step) / "evaluation.json").touch()
        scoring.submit(step)
    wait_for(lambda: scoring._jobs[1].running() if under_way else not scoring.pending)
    assert scoring.give_up(3, spare=5) == sorted({1, 2, 3, 4, 5} - set(left))
    assert sorted(int(path.name.removeprefix("step_")) for path in folder.evaluations.iterdir()) == left
    scoring.stop()
