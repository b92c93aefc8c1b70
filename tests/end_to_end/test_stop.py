"""SIGTERM at any moment: every worker saves and leaves with 0, and the same command goes on."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

import eval as evaluation
from asd.commands.open_run import CheckpointEmbedder
from tests.support.hooks import no_scoring
from tests.support.launch import Job, children, losses, records, torchrun
from tests.support.patience import wait_for
from tests.support.resumable import STEPS, last_weights, train, words

ROUNDS = int(os.environ.get("ASD_SOAK_ROUNDS", "2"))


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("who", ["all", "one"])
def test_stopped_workers_save_and_leave_with_zero(
    small_set: Path, unbroken: Path, tmp_path: Path, seed: int, who: str
) -> None:
    folder, moment = tmp_path / "run", random.Random(seed).randint(1, STEPS - 5)
    job = Job(tmp_path / "log", words(small_set, folder), ranks=2, prepare=no_scoring)
    wait_for(lambda: len(records(folder)) >= moment)
    if who == "all":
        job.signal(signal.SIGTERM)
    else:
        os.kill(random.Random(seed).choice(job.pids), signal.SIGTERM)
    done = job.wait()
    assert done.codes == [0, 0], done
    assert not any(done.err), done
    stopped = max(losses(folder))
    assert f"at step {stopped}, checkpoint saved" in done.out[0]
    assert stopped < STEPS
    assert f"resuming from step {stopped}\n" in train(small_set, folder)
    assert losses(folder) == losses(unbroken)
    assert last_weights(folder) == last_weights(unbroken)


def test_plain_python_leaves_with_zero(small_set: Path, tmp_path: Path) -> None:
    job = Job(tmp_path / "log", words(small_set, tmp_path / "run"), ranks=1, prepare=no_scoring)
    wait_for(lambda: records(tmp_path / "run"))
    job.signal(signal.SIGTERM)
    assert job.wait().codes == [0]


def test_a_signal_does_not_wait_for_the_last_scores(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    job = Job(tmp_path / "log", words(small_set, folder, "train.epochs=1"), ranks=2)
    log = folder / "evaluations" / "step_00000005" / "scoring.log"
    wait_for(log.exists)
    job.signal(signal.SIGTERM)
    assert job.wait().codes == [0, 0]
    assert not (log.parent / "report.json").exists()


def test_torchrun_ends_with_zero_when_its_workers_are_stopped(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with torchrun(tmp_path / "log", words(small_set, folder, "train.epochs=100")) as agent:
        wait_for(lambda: len(records(folder)) >= 3)
        for worker in children(agent.pid):
            os.kill(worker, signal.SIGTERM)
        code = agent.wait()
    said = (tmp_path / "log").read_text()
    assert code == 0, said
    assert f"stopped by SIGTERM at step {max(losses(folder))}, checkpoint saved; run the same command to resume" in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_export_that_is_stopped_leaves_nothing_half_made(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    number: signal.Signals, code: int,
) -> None:  # fmt: skip
    out = tmp_path / "detector.pt"
    monkeypatch.setattr(CheckpointEmbedder, "embed", lambda *_: os.kill(os.getpid(), number))
    assert evaluation.main(["export", "--run", str(unbroken), "--checkpoint", "last", "--out", str(out)]) == code
    assert capsys.readouterr().err == f"stopped by {number.name}\n"
    assert not list(tmp_path.iterdir())
