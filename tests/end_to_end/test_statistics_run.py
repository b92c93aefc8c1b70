"""Systems that train nothing, by the real commands: one checkpoint at step 0, scored, on any number of ranks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import train_ddp
from asd.errors import UserError
from asd.metrics import read_scores
from asd.run_folder import checkpoint
from tests.end_to_end.test_watch import watch_inline
from tests.support.hooks import score_at_once
from tests.support.inline import score_inline
from tests.support.launch import succeed
from tests.support.narrow import CONFIGS
from tests.support.sets import make_set


def words(shards: Path, folder: Path, *more: str) -> list[str]:
    return ["--config", str(CONFIGS["statistics"]), f"data.shards={shards}", f"run.dir={folder}", *more]


def scores_of(folder: Path) -> dict[str, list[float]]:
    return {name: x.tolist() for name, x in read_scores(folder / "evaluations/step_00000000/scores.csv").scores.items()}


@pytest.fixture
def run(small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    score_inline(monkeypatch)
    assert train_ddp.main(words(small_set, tmp_path / "run")) == 0
    return tmp_path / "run"


def test_two_ranks_say_what_one_says(run: Path, small_set: Path, tmp_path: Path) -> None:
    said = succeed(tmp_path / "log", words(small_set, tmp_path / "two"), ranks=2, prepare=score_at_once).out[0]
    assert "nothing to train" in said
    assert "finished at step 0" in said
    assert scores_of(run) == scores_of(tmp_path / "two")


@pytest.mark.parametrize("lost", [["evaluations"], ["evaluations", "checkpoints"], []], ids=str)
def test_the_same_command_does_what_is_not_done_yet(lost: list[str], run: Path, small_set: Path) -> None:
    before = scores_of(run)
    for folder in lost:
        shutil.rmtree(run / folder)
    assert train_ddp.main(words(small_set, run)) == 0
    assert checkpoint.complete_steps(run / "checkpoints") == [0]
    assert scores_of(run) == before


def test_a_watcher_scores_what_a_run_leaves_to_it(run: Path, small_set: Path, tmp_path: Path) -> None:
    assert train_ddp.main(words(small_set, tmp_path / "left", "evaluate.by_watcher=true")) == 0
    assert not (tmp_path / "left" / "evaluations").exists()
    watch_inline(tmp_path / "left", "evaluate.by_watcher=true")
    assert scores_of(tmp_path / "left") == scores_of(run)


def test_a_debug_run_goes_through(small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score_inline(monkeypatch)
    assert train_ddp.main(words(small_set, tmp_path / "run", "debug=true")) == 0
    assert (tmp_path / "run_debug" / "evaluations/step_00000000/report.json").is_file()


@pytest.mark.parametrize("clips", [1, 2, 10])
def test_one_machine_with_few_clips(clips: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score_inline(monkeypatch)
    shards = make_set(tmp_path, classes=[("fan", "00")], train=clips, seconds=0.02)  # shorter than a frame
    assert train_ddp.main(words(shards, tmp_path / "run")) == 0
    assert all(len(column) == 8 for column in scores_of(tmp_path / "run").values())


def test_weights_of_another_run_are_embedded_as_they_are(
    run2022: Path, factory2022: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run has them from its own checkpoint."""
    score_inline(monkeypatch)
    backbone = "backbone={name: mobilefacenet, width: 0.25, norm: group, embedding: 32}"
    scorers = "evaluate.scorers=[{name: centroid}]"
    more = [backbone, scorers, "frontend.n_mels=32", "data.machine_types=[fan, valve]", f"init_from={run2022}"]
    for _ in range(2):
        assert train_ddp.main(words(factory2022, tmp_path / "run", *more)) == 0
        shutil.rmtree(tmp_path / "run" / "evaluations", ignore_errors=True)
    own, theirs = (
        checkpoint.load_weights(checkpoint.step_path(folder / "checkpoints", step))
        for folder, step in ((tmp_path / "run", 0), (run2022, checkpoint.complete_steps(run2022 / "checkpoints")[-1]))
    )
    assert own
    assert all((weight == theirs[name]).all() for name, weight in own.items())


def test_words_of_training_are_refused(small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"leave train\.epochs and train\.steps out"):
        train_ddp.main(words(small_set, tmp_path / "run", "train.epochs=3"))
