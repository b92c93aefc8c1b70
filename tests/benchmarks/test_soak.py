"""The soak: a fault for real, and what it makes of rounds that fail."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.soak import __main__ as soak
from benchmarks.soak import place
from benchmarks.soak.job import Job, RoundError
from benchmarks.soak.outcome import load
from benchmarks.soak.place import Curve, PackedSet
from benchmarks.soak.round import Round, SkippedError
from tests.support.launch import succeed

SHORT = ["train.epochs=null", "train.steps=25", "evaluate.by_watcher=true"]
PAGE = "above\n" + "\n".join(f"<!-- {word} soak: made by a program, see the Makefile -->" for word in ("begin", "end"))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path / "page.md"


def test_a_killed_rank_for_real(
    small_set: Path, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The unbroken run is forked, since only how it comes out matters."""
    monkeypatch.setattr(place, "SETTINGS", SHORT)
    monkeypatch.setattr(place.Place, "_packed", lambda self, codec: small_set)
    succeed(tmp_path / "log", place.train_words(small_set, tmp_path / "unbroken"), ranks=2)
    monkeypatch.setattr(PackedSet, "curve", Curve(place.losses(tmp_path / "unbroken"), []))
    words = f"--rounds 1 --faults rank_killed --work {tmp_path / 'work'} --page {page}"
    code = soak.main(words.split())
    assert code == 0, capsys.readouterr()
    (outcome,) = load(tmp_path / "work" / "rank_killed.json").rounds
    assert outcome.recovered
    assert outcome.codes == [0]
    assert 0 <= outcome.lost_steps <= 6, "a save every 5 steps"
    assert outcome.again_s is not None
    assert "another rank exited" in outcome.said
    assert "| `kill -9` of a rank | 1 of 1 |" in page.read_text()
    assert not list((tmp_path / "work" / "rounds").iterdir())


# ---- what is made of rounds, without any process --------------------------------------------------------------------


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No set is made and nothing is trained."""
    monkeypatch.setattr(place.Place, "_packed", lambda self, codec: tmp_path)
    monkeypatch.setattr(PackedSet, "curve", Curve({1: 0.5, 2: 0.25}, [2]))


def test_a_round_that_fails_is_shown_and_kept_and_the_others_go_on(
    still: None, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(round: Round) -> None:
        """It breaks"""
        raise RoundError("this was seen")

    def barred(round: Round) -> None:
        """It may not"""
        raise SkippedError("not on this machine")

    def fine(round: Round) -> None:
        """It is fine"""
        round.check = lambda: None  # type: ignore[method-assign]
        round.codes, round.said = [143, 0], "a word | another"

    all_three = {fault.__name__: fault for fault in (broken, barred, fine)}
    monkeypatch.setattr(soak, "FAULTS", all_three)
    work = tmp_path / "work"
    assert soak.main(["--rounds", "6", "--work", str(work), "--page", str(page), "--seed", "4"]) == 1
    assert "broken: FAILED: this was seen (broken_4)" in capsys.readouterr().err
    assert sorted(path.name for path in (work / "rounds").iterdir()) == ["broken_4", "broken_7"]
    text = page.read_text()
    assert "| It breaks | **0 of 2** | – | – |  | **this was seen (broken_7)** |" in text
    assert "| It may not | 0 | – | – | – | not tried: not on this machine |" in text
    assert "| It is fine | 2 of 2 | 0 / 0 | – | 143, 0 | a word \\| another |" in text
    assert text.startswith("above\n")
    assert [one["seed"] for one in json.loads((work / "fine.json").read_text())["rounds"]] == [6, 9]
    assert soak.main(["--rounds", "1", "--faults", "fine", "--work", str(work), "--page", str(page)]) == 0


def test_every_fault_says_what_it_is() -> None:
    whats = [fault.__doc__ or "" for fault in soak.FAULTS.values()]
    assert all(whats) and len(set(whats)) == len(whats)
    assert not any("\n" in what for what in whats)  # each is a cell of the table


# ---- what is looked at ---------------------------------------------------------------------------------------------


def said(*lines: tuple[float, str]) -> Job:
    return SimpleNamespace(lines=list(lines))  # type: ignore[return-value]


def step(number: int) -> str:
    return f"step {number}/60 epoch 1"


BEGIN = "run folder RUN; watch it: tensorboard --logdir RUN/tensorboard"


@pytest.fixture
def round_(still: None, tmp_path: Path) -> Round:
    return Round(place.Place(tmp_path), tmp_path / "round", random.Random(0))


@pytest.mark.parametrize(
    ("jobs", "since", "lost", "again"),
    [
        ([said((1, BEGIN), (2, step(1)), (3, step(2)))], 2.5, 0, 0.5),
        ([said((1, BEGIN), (2, step(6)), (3, step(7)), (8, BEGIN), (9, step(6)))], 3.5, 2, 5.5),
        ([said((1, BEGIN), (2, step(6)), (4, step(7)), (8, BEGIN), (9, step(6)))], 3, 2, 6),
        ([said((1, BEGIN), (2, step(9))), said((8, BEGIN)), said((9, BEGIN), (10, step(6)))], 8, 4, 2),
        ([said((1, BEGIN), (2, step(9)))], 3, 0, None),
    ],
)
def test_lost_steps_and_seconds(round_: Round, jobs: list[Job], since: float, lost: int, again: float | None) -> None:
    round_.jobs, round_.since = jobs, since
    assert (round_.lost_steps, round_.again_s) == (lost, again)


def write_losses(round_: Round, *losses: tuple[int, float | None]) -> None:
    round_.run.mkdir()
    text = "".join(json.dumps({"step": number, "loss": loss, "bad_clips": 0}) + "\n" for number, loss in losses)
    (round_.run / "metrics.jsonl").write_text(text)


@pytest.mark.parametrize(
    ("losses", "problem"),
    [
        ([(1, 0.5), (2, 0.25001)], "loss 0.25001 at step 2, 0.25 in the unbroken run"),
        ([(1, 0.5)], "metrics.jsonl has steps [1]"),
        ([(1, 0.5), (2, 0.25), (2, 0.25)], "a step twice"),
        ([(1, 0.5), (2, None)], "a loss is not finite"),
        ([(1, 0.5), (2, 0.25)], "no checkpoint of the last step"),
    ],
)
def test_what_is_found_fault_with(round_: Round, losses: list[tuple[int, float | None]], problem: str) -> None:
    write_losses(round_, *losses)
    with pytest.raises(RoundError) as caught:
        round_.check()
    assert problem in str(caught.value)


def test_a_job_that_hangs_or_leaves_something_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.soak.job.GRACE_S", 0.2)
    hanging = Job(["sleep", "100"], tmp_path / "log")
    with pytest.raises(RoundError, match="hangs"):
        hanging.wait(limit_s=0.2)
    hanging.kill()
    leaving = Job(["bash", "-c", "sleep 100 & disown"], tmp_path / "log")
    with pytest.raises(RoundError, match=r"1 processes are left .*sleep 100"):
        leaving.wait()
    leaving.kill()
    begin = time.monotonic()
    while leaving.processes():
        assert time.monotonic() < begin + 60
