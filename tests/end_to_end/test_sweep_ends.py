"""A sweep that is stopped, or of which a run fails: nothing goes on behind its back, nothing that was done is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from asd.config.load import load_config
from asd.errors import UserError
from asd.run_folder import checkpoint
from asd.sweep.jobs import Job, Trainings, run_jobs
from tests.support.launch import ON_CPU, ROOT, TINY, records, without_heads
from tests.support.patience import wait_for

ENDLESS = ["train.epochs=100000", "evaluate.every_epochs=100000"]


def runs(out: Path) -> list[Path]:
    return sorted((out / TINY.stem).glob("seed_*"))


@pytest.mark.parametrize(("ranks", "slots", "number"), [(1, 2, signal.SIGTERM), (2, 1, signal.SIGINT)])
def test_a_signal_ends_the_trainings_which_save(
    small_set: Path, tmp_path: Path, ranks: int, slots: int, number: signal.Signals
) -> None:
    out = tmp_path / "sweep"
    words = ["--config", str(TINY), "--seeds", "0", "1", "2", "--ranks", str(ranks), "--slots", str(slots)]
    words += ["--out", str(out), f"data.shards={small_set}", *ENDLESS]
    command = [sys.executable, "-m", "asd.sweep", *words]
    job = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | ON_CPU, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(runs(out)) == slots and all(len(records(run)) > 2 for run in runs(out)))
    job.send_signal(number)
    said, complained = job.communicate()
    assert job.returncode == 128 + number, complained
    told = "running trainings have saved; run the same command to continue"
    assert without_heads(complained) == f"warning: sweep stopped by {number.name}: {told}\n"
    assert (
        said.count(" info: training ")
        == said.count("checkpoint saved; run the same command to resume")
        == len(runs(out))
        == slots
    )
    for run in runs(out):
        step = json.loads((run / "status.json").read_text(encoding="utf-8"))["step"]
        assert checkpoint.complete_steps(run / "checkpoints")[-1] == step
        assert not (run / "DONE").exists()


def jobs(tmp_path: Path) -> list[Job]:
    """Three of them."""
    made = []
    for seed in range(3):
        words = ("data.shards=set", f"run.dir={tmp_path / str(seed)}", "evaluate.select=last")
        made.append(Job(TINY.stem, seed, TINY, load_config(TINY, words), words))
    return made


def end(folder: str, state: str, scored: bool = True) -> None:
    evaluation = Path(folder) / "evaluations" / "step_00000003"
    evaluation.mkdir(parents=True)
    for file in ("evaluation.json", "report.json")[: 1 + scored]:
        (evaluation / file).touch()
    status = {"run": "run", "host": "h", "pid": 1, "world_size": 1, "device": "cpu", "state": state}
    times = {"started_unix": 0, "updated_unix": 0, "progressed_unix": 0}
    (Path(folder) / "status.json").write_text(json.dumps(status | times), encoding="utf-8")


@pytest.mark.parametrize(("keep_going", "expected"), [(False, {0, 1}), (True, {0, 1, 2})])
def test_a_failure_leaves_what_is_queued_undone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep_going: bool,
    expected: set[int],
) -> None:
    """Run 1 fails while run 0 is under way, which ends well."""
    failed, started = threading.Event(), set()

    def run(_: Trainings, command: list[str], *__: object) -> tuple[int, bool]:
        (folder,) = (word.removeprefix("run.dir=") for word in command if word.startswith("run.dir="))
        started.add(int(Path(folder).name))
        if folder.endswith("1"):
            return 3, False
        assert folder.endswith("2") or failed.wait(600)
        end(folder, "finished")
        return 0, False

    monkeypatch.setattr(Trainings, "run", run)
    fail = Trainings.fail
    monkeypatch.setattr(Trainings, "fail", lambda self, line: (fail(self, line), failed.set()))
    with pytest.raises(UserError, match=f"{tmp_path / '1'} failed with exit code 3: see above"):
        run_jobs(jobs(tmp_path), ranks=1, slots=2, keep_going=keep_going)
    assert started == expected


def test_a_run_that_somebody_stopped_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with 0, as it has saved."""

    def run(_: Trainings, command: list[str], *__: object) -> tuple[int, bool]:
        (folder,) = (word.removeprefix("run.dir=") for word in command if word.startswith("run.dir="))
        end(folder, "stopped")
        return 0, False

    monkeypatch.setattr(Trainings, "run", run)
    (job, *_) = jobs(tmp_path)
    with pytest.raises(UserError, match=f"{tmp_path / '0'} was stopped before its end"):
        run_jobs([job], ranks=1, slots=1)
    assert not job.done


def test_a_run_without_scores_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scoring was killed, say; started again it makes up for that."""
    (job, *_) = jobs(tmp_path)

    def run(*_: object) -> tuple[int, bool]:
        if not Path(job.config.run.dir).exists():
            end(job.config.run.dir, "finished", scored=False)
        else:
            (Path(job.config.run.dir) / "evaluations" / "step_00000003" / "report.json").touch()
        return 0, False

    monkeypatch.setattr(Trainings, "run", run)
    with pytest.raises(UserError, match=f"{tmp_path / '0'} has no scores of its best checkpoint: see above"):
        run_jobs([job], ranks=1, slots=1)
    assert not job.done
    run_jobs([job], ranks=1, slots=1)
    assert job.done
