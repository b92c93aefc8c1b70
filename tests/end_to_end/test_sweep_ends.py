"""A sweep that is stopped, or of which a run fails: nothing goes on behind its back, nothing that was done is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from asd.config.load import load_config
from asd.errors import UserError
from asd.run_folder import checkpoint
from asd.sweep import sweep
from asd.sweep.engines import Local
from asd.sweep.jobs import Job
from asd.sweep.queue import Task, run_jobs, run_tasks
from tests.support.inline import Ended, sweep_inline
from tests.support.launch import ON_CPU, ROOT, TINY, kill, losses, records, without_heads
from tests.support.patience import wait_for

STEPS = 60


def runs(out: Path) -> list[Path]:
    return sorted((out / TINY.stem).glob("seed_*"))


@contextmanager
def under_way(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A sweep at a terminal of its own; whatever of it is left at the end is killed."""
    command = [sys.executable, "-m", "asd.sweep", "--config", str(TINY), *words]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | ON_CPU, stdout=-1, stderr=-1, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            for pid in all_of(process.pid):
                kill(pid)


def all_of(session: int) -> set[int]:
    """Every process that was started at a terminal, in whichever process group."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ends just now
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def held(out: Path, count: int) -> list[int]:
    """The processes of so many runs (of rank 0), each held after its first steps: SIGCONT has it go on."""
    pids: dict[Path, int] = {}

    def hold() -> bool:
        for run in filter(Path.is_dir, runs(out)):
            if run not in pids and len(records(run)) > 2:
                pids[run] = json.loads((run / "status.json").read_text(encoding="utf-8"))["pid"]
                os.kill(pids[run], signal.SIGSTOP)
        return len(pids) == count

    wait_for(hold)
    return list(pids.values())


def is_asked_to_stop(pid: int) -> bool:
    """Whether SIGTERM waits for a process that is held."""
    pending = re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return any(int(mask, 16) >> (signal.SIGTERM - 1) & 1 for mask in pending)


@pytest.mark.parametrize(("ranks", "slots", "number"), [(1, 2, signal.SIGTERM), (2, 1, signal.SIGINT)])
def test_a_signal_ends_the_trainings_which_save_and_go_on_later(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranks: int, slots: int, number: signal.Signals
) -> None:
    """SIGINT comes from the terminal, to the whole process group. The runs are held in the middle meanwhile."""
    out = tmp_path / "sweep"
    words = ["--seeds", "0", "1", "--ranks", str(ranks), "--slots", str(slots), "--out", str(out)]
    words += [f"data.shards={small_set}", "evaluate.scorers=[{name: knn}]"]
    words += ["train.epochs=null", f"train.steps={STEPS}", f"evaluate.every_epochs={STEPS}"]
    with under_way(*words) as job:
        pids = held(out, slots)
        os.killpg(job.pid, number) if number == signal.SIGINT else job.send_signal(number)
        wait_for(lambda: all(is_asked_to_stop(pid) for pid in pids))
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        said, complained = job.communicate()
        assert all_of(job.pid) == set()
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
        assert checkpoint.complete_steps(run / "checkpoints")[-1] == step < STEPS
        assert not (run / "DONE").exists()

    with under_way(*words) as job:
        said, complained = job.communicate()
        assert (job.returncode, all_of(job.pid)) == (0, set()), complained
    assert said.count("resuming from step") == slots
    assert all((run / "DONE").exists() for run in runs(out))
    if ranks == 1:
        sweep_inline(monkeypatch)
        whole = [str(tmp_path / "whole") if word == str(out) else word for word in words]
        assert sweep.main(["--config", str(TINY), *whole, "--slots", "1"]) == 0
        assert [losses(run) for run in runs(out)] == [losses(run) for run in runs(tmp_path / "whole")]


def test_a_run_that_fails_says_why_and_where(small_set: Path, tmp_path: Path) -> None:
    """Its folder is a file. The one beside it, held meanwhile, ends well; the third is not begun."""
    out = tmp_path / "sweep"
    words = ["--out", str(out), f"data.shards={small_set}", "train.epochs=1", "evaluate.scorers=[{name: knn}]"]
    job, *_ = sweep.plan_jobs(sweep.parse_args(["--config", str(TINY), "--seeds", "1", *words]))
    job.folder.parent.mkdir(parents=True)
    job.folder.touch()
    with under_way("--seeds", "0", "1", "2", "--slots", "2", *words) as process:
        (pid,) = held(out, 1)
        assert process.stderr is not None
        complained = process.stderr.readline()
        os.kill(pid, signal.SIGCONT)
        complained += process.stderr.read()
        process.wait()
        assert (process.returncode, all_of(process.pid)) == (2, set())
    (log,) = out.glob(f"jobs/*/{job.folder.name}/*_log.out")
    why = log.read_text().splitlines()[-1]
    assert str(job.folder) in why
    problem = f"{job.folder} failed with exit code 2"
    told = f"error: {problem}: see above; run the same command to continue"
    assert without_heads(complained) == f"warning: {problem}, log {log}\n{without_heads(why)}\n{told}\n"
    (well,) = (run for run in runs(out) if run != job.folder)
    assert well.name.startswith("seed_0") and (well / "DONE").exists()


# ---- with trainings that are played --------------------------------------------------------------------------------


def jobs(tmp_path: Path) -> list[Job]:
    """Three of them."""
    made = []
    for seed in range(3):
        words = ("data.shards=set", f"run.dir={tmp_path / TINY.stem / str(seed)}", "evaluate.select=last")
        made.append(Job(TINY.stem, seed, TINY, load_config(TINY, words), words))
    return made


def end(folder: Path, state: str, scored: bool = True) -> None:
    evaluation = folder / "evaluations" / "step_00000003"
    evaluation.mkdir(parents=True, exist_ok=True)
    for file in ("evaluation.json", "report.json")[: 1 + scored]:
        (evaluation / file).touch()
    status = {"run": "run", "host": "h", "pid": 1, "world_size": 1, "device": "cpu", "state": state}
    times = {"started_unix": 0, "updated_unix": 0, "progressed_unix": 0}
    (folder / "status.json").write_text(json.dumps(status | times), encoding="utf-8")


class Played(Local):
    """An engine whose runs end as they are told: with an exit code, or, -1, when they are asked to."""

    poll_s = 0.0

    def __init__(self, slots: int, codes: dict[int, int] | None = None) -> None:
        super().__init__(1, slots)
        self.codes, self.begun = codes or {}, list[int]()

    def submit(self, jobs: Sequence[Job]) -> list[Ended]:  # type: ignore[override]
        self.begun += [job.seed for job in jobs]
        return [Playing(self.codes.get(job.seed, 0)) for job in jobs]

    def stop(self, handles: Sequence[Playing]) -> None:  # type: ignore[override]
        for handle in handles:
            handle.asked = True
            handle.paths.result_pickle = Path("none")


class Playing(Ended):
    asked = False

    def done(self) -> bool:
        return self.asked or self._code != -1


@pytest.mark.parametrize(("keep_going", "begun"), [(False, [0]), (True, [0, 1, 2])])
def test_a_failure_leaves_what_is_queued_undone(tmp_path: Path, keep_going: bool, begun: list[int]) -> None:
    for job in jobs(tmp_path):
        end(job.folder, "finished")
    engine = Played(slots=1, codes={0: 3})
    with pytest.raises(UserError, match=f"{tmp_path}/tiny/0 failed with exit code 3: see above; run the same command"):
        run_jobs(jobs(tmp_path), engine, keep_going)
    assert engine.begun == begun
    assert [job.done for job in jobs(tmp_path)] == [False, keep_going, keep_going]


def test_what_waits_in_a_queue_is_taken_from_it_after_a_failure(tmp_path: Path) -> None:
    """Slurm has all runs from the beginning; the second has not begun when the first fails."""
    engine = Played(slots=1, codes={0: 3, 1: -1, 2: -1})
    engine.queues = True
    ended = {}
    tasks = [Task(job, ended=lambda outcome, seed=job.seed: ended.update({seed: outcome})) for job in jobs(tmp_path)]
    with pytest.raises(UserError, match="tiny/0 failed with exit code 3"):
        run_tasks(tasks, engine, at_once=3)
    assert (engine.begun, ended) == ([0, 1, 2], {0: "failed", 1: "stopped", 2: "stopped"})


def test_a_run_that_is_not_wanted_any_more_is_stopped(tmp_path: Path) -> None:
    """No failure: the next one takes its place."""
    first, second, _ = jobs(tmp_path)
    end(second.folder, "finished")
    ended = list[str]()
    run_tasks([Task(first, lambda: True, ended.append), Task(second, ended=ended.append)], Played(1, {0: -1}), 1)
    assert ended == ["surplus", "done"]
    assert (first.done, second.done) == (False, True)


def test_what_goes_wrong_with_the_sweep_itself_leaves_nothing_behind(tmp_path: Path) -> None:
    def tasks() -> Iterator[Task]:
        yield Task(jobs(tmp_path)[0])
        raise UserError("no more")

    handles = []
    engine = Played(slots=2, codes={0: -1})
    submit = engine.submit
    engine.submit = lambda jobs: [handles.append(own) or own for own in submit(jobs)]  # type: ignore[method-assign]
    with pytest.raises(UserError, match="no more"):
        run_tasks(tasks(), engine, at_once=2)
    assert [handle.asked for handle in handles] == [True]


def test_a_run_that_somebody_stopped_is_not_done(tmp_path: Path) -> None:
    """It ends with 0, as it has saved."""
    (job, *_) = jobs(tmp_path)
    end(job.folder, "stopped")
    with pytest.raises(UserError, match=f"{job.folder} was stopped before its end"):
        run_jobs([job], Played(slots=1))
    assert not job.done


def test_a_run_without_scores_is_not_done(tmp_path: Path) -> None:
    """Its scoring was killed, say; started again it makes up for that."""
    (job, *_) = jobs(tmp_path)
    end(job.folder, "finished", scored=False)
    with pytest.raises(UserError, match=f"{job.folder} has no scores of its best checkpoint: see above"):
        run_jobs([job], Played(slots=1))
    assert not job.done
    end(job.folder, "finished")
    run_jobs([job], Played(slots=1))
    assert job.done
