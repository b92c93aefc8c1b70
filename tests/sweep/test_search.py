"""The course of a search: trials done, given up, failed or put back. The study is real, trainings are played."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from asd.errors import UserError
from asd.sweep import search as module
from asd.sweep.engines import Local
from asd.sweep.jobs import Job, job_of
from asd.sweep.queue import Task
from asd.sweep.sweep import main
from tests.support.launch import TINY

Play = Callable[[Job, Callable[[], bool]], str]


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Learning rates of all trials that were begun; each ends well at once."""
    return play(monkeypatch, lambda job, is_surplus: "done")


def play(monkeypatch: pytest.MonkeyPatch, outcome: Play) -> list[float]:
    begun = []

    def run_tasks(tasks: Iterable[Task], engine: Local, at_once: int, keep_going: bool) -> None:
        failed = False
        for task in tasks:
            begun.append(task.job.config.optim.lr)  # type: ignore[union-attr]
            evaluated(task.job, 1, task.job.config.optim.lr)  # type: ignore[union-attr]
            found = outcome(task.job, task.is_surplus)
            task.ended(found)  # type: ignore[arg-type]
            failed |= found == "failed"
            if found == "stopped" or (failed and not keep_going):
                break
        if failed:
            raise UserError("it failed: see above")

    monkeypatch.setattr(module, "run_tasks", run_tasks)
    return begun


def evaluated(job: Job, step: int, loss: float, accuracy: float = 0.5) -> None:
    run = Path(job.config.run.dir)
    run.mkdir(parents=True, exist_ok=True)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "validation/loss": loss, "validation/accuracy": accuracy}) + "\n")


def search(tmp_path: Path, *words: str, count: int = 6) -> list[dict[str, Any]]:
    space = tmp_path / "space.yaml"
    space.write_text("optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}\n")
    out = tmp_path / "search"
    line = ["--config", str(TINY), "--search", str(space), "--trials", str(count), "--out", str(out)]
    assert main([*line, "data.shards=set", "data.val_fraction=0.2", *words]) == 0
    found: list[dict[str, Any]] = json.loads((out / "search.json").read_text())
    return found


def test_the_best_trial_stands_first(tmp_path: Path, trials: list[float]) -> None:
    found = search(tmp_path)
    assert [trial["value"] for trial in found] == [trial["optim.lr"] for trial in found] == sorted(trials)
    assert len(set(trials)) == 6
    assert (tmp_path / "search" / "search.md").read_text().startswith("| trial | held-out loss | optim.lr | run |")


def test_accuracy_is_to_be_high_and_says_nothing_where_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def accurate(job: Job, is_surplus: object) -> str:
        evaluated(job, 2, 1.0, accuracy=0.9 + 10 * job.config.optim.lr)  # type: ignore[union-attr]
        return "done"

    play(monkeypatch, accurate)
    found = search(tmp_path, "--objective", "accuracy", count=12)
    values = [trial["value"] for trial in found]
    assert values == sorted(values, reverse=True)
    full = sum(value >= 0.99 for value in values)
    assert ("of 12 trials tell 99% or more of the held-out normal clips apart" in caplog.text) == (2 * full >= 12)


def test_a_search_goes_on_where_it_was(tmp_path: Path, trials: list[float]) -> None:
    first = search(tmp_path, count=3)
    assert len(trials) == 3
    assert [trial for trial in search(tmp_path, count=5) if trial in first] == sorted(first, key=lambda t: t["value"])
    assert len(trials) == 5
    assert len(search(tmp_path, count=5)) == len(trials) == 5


def test_what_is_worse_than_the_others_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are equal but the last, which is worse from the first evaluation on."""
    number = iter(range(99))

    def outcome(job: Job, is_surplus: Callable[[], bool]) -> str:
        (Path(job.config.run.dir) / "metrics.jsonl").unlink()
        own = next(number)
        evaluated(job, 1, 2.0 if own < 6 else 3.0)
        return "surplus" if is_surplus() else "done"

    play(monkeypatch, outcome)
    states = {trial["number"]: trial["state"] for trial in search(tmp_path, count=7)}
    assert states == dict.fromkeys(range(6), "complete") | {6: "pruned"}


def test_a_failure_ends_the_search_unless_it_is_to_keep_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = play(monkeypatch, lambda job, is_surplus: "failed")
    with pytest.raises(UserError, match="it failed: see above"):
        search(tmp_path)
    assert len(begun) == 1
    with pytest.raises(UserError, match="it failed"):
        search(tmp_path, "--keep-going")
    assert len(begun) == 6  # what failed before counts


def test_what_was_stopped_is_tried_again_with_the_same_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = play(monkeypatch, lambda job, is_surplus: "stopped" if len(begun) == 2 else "done")
    search(tmp_path, count=3)
    assert len(begun) == 2
    found = search(tmp_path, count=3)
    assert begun[2] == begun[1] and len(begun) == 4 and len(found) == 3


def test_the_trial_of_a_search_that_was_killed_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: list[float]
) -> None:
    def killed(job: Job, is_surplus: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        begun = play(patch, killed)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path, count=2)
    monkeypatch.setattr(module.psutil, "pid_exists", lambda pid: False)
    assert len(search(tmp_path, count=2)) == 2
    assert trials[0] == begun[0]


def test_two_searches_work_on_one_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one has a trial under way when this one starts, and ends it meanwhile: that is one of the three."""
    search_of_another = module._open(tmp_path / "search", "loss", 0)
    own = search_of_another.ask()
    own.set_user_attr("worker", ("another machine", 1))
    own.set_user_attr("run", "of_another")
    value = own.suggest_float("optim.lr", 1e-4, 1e-2, log=True)

    def outcome(job: Job, is_surplus: object) -> str:
        if len(begun) == 1:
            search_of_another.tell(own, value)
        return "done"

    begun = play(monkeypatch, outcome)
    assert [trial["number"] for trial in search(tmp_path, count=3)] != []
    assert len(begun) == 2 and len({value, *begun}) == 3


def test_no_two_trials_train_the_same_run_at_once(tmp_path: Path, trials: list[float]) -> None:
    """Another search has drawn the very values that come next."""
    study = module._open(tmp_path / "search", "loss", 0)
    study.enqueue_trial({"optim.lr": 1e-3})
    study.enqueue_trial({"optim.lr": 1e-3})
    own = study.ask()
    own.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    words = ["data.shards=set", "data.val_fraction=0.2", "optim.lr=0.001"]
    own.set_user_attr("run", job_of(TINY, 0, None, words, tmp_path / "search").folder.name)
    own.set_user_attr("worker", ("another machine", 1))
    search(tmp_path, count=3)
    assert len(trials) == 1 and 1e-3 not in trials
    search(tmp_path, count=3)
    assert len(trials) == 2  # in the place of the one that was left out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--seeds", "0", "1"], "--search takes one --config and one of --seeds"),
        (["--by-type"], "no --by-type"),
        (
            ["data.val_fraction=0", "evaluate.select=last"],
            "a search goes by held-out normal clips: set data.val_fraction above 0",
        ),
        (["optim.name=none"], "optim"),
    ],
)
def test_what_cannot_be_searched_is_refused(tmp_path: Path, trials: list[float], words: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        search(tmp_path, *words)
    assert not trials


def test_a_search_by_another_number_needs_another_folder(tmp_path: Path, trials: list[float]) -> None:
    search(tmp_path, count=1)
    with pytest.raises(UserError, match="is a search by loss: name that as --objective, or another --out"):
        search(tmp_path, "--objective", "accuracy", count=1)
