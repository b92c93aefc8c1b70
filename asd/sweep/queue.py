"""Trainings one after another, several at once: started where there is room, watched, stopped together."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from asd.errors import UserError
from asd.evaluate.history import Selection, best_step, is_scored
from asd.monitor.status import FILE as STATUS_FILE
from asd.monitor.status import read_status
from asd.process.stop import StopSignal
from asd.run_folder.paths import RunFolder
from asd.sweep.engines import Engine
from asd.sweep.jobs import Job
from asd.sweep.output import Output

if TYPE_CHECKING:
    from asd.sweep.engines import Handle

log = logging.getLogger(__name__)

RESULT_S = 15.0  # until what a job has written is seen on another machine
LOOK_S = 2.0  # how often a run is asked whether it is wanted still

# surplus: asked to stop since it was not wanted any more; stopped: with the sweep, or not begun
Outcome = Literal["done", "failed", "surplus", "stopped"]


@dataclass(frozen=True)
class Task:
    """A run to be trained."""

    job: Job
    is_surplus: Callable[[], bool] = lambda: False  # asked now and then, whether it need not go on
    ended: Callable[[Outcome], None] = lambda outcome: None


def run_jobs(jobs: Sequence[Job], engine: Engine, keep_going: bool = False) -> None:
    """Train all jobs, as `run_tasks` does."""
    run_tasks(map(Task, jobs), engine, len(jobs) if engine.queues else engine.slots, keep_going)


def run_tasks(tasks: Iterable[Task], engine: Engine, at_once: int, keep_going: bool = False) -> None:
    """Train tasks, of which the engine has at most `at_once`; each is taken when there is room for it.

    The first failure (UserError) leaves what has not started undone, unless keep_going. SIGTERM or SIGINT has those
    under way save, and ends this process with 143 or 130 and one line.
    """
    queue, under_way, failed = iter(tasks), list[_UnderWay](), list[str]()
    with StopSignal() as stop:
        try:
            while True:
                closed = stop.name is not None or (bool(failed) and not keep_going)
                if not closed:
                    room = at_once - len(under_way)
                    under_way += _start(list(itertools.islice(queue, room if engine.queues else min(room, 1))), engine)
                if not under_way:
                    break
                time.sleep(engine.poll_s)
                for own in under_way:
                    own.decide(stop.name is not None, closed)
                engine.stop([own.handle for own in under_way if own.asked is not None])
                going = engine.going([own.handle for own in under_way])
                ended = [own for own in under_way if own.handle not in going]
                for own in under_way:
                    own.output.show(own in ended)
                under_way = [own for own in under_way if own not in ended]
                failed += [problem for own in ended if (problem := own.conclude())]
        finally:  # whatever else ends the sweep: nothing goes on behind its back
            while left := engine.going([own.handle for own in under_way]):
                engine.stop(left)
                time.sleep(engine.poll_s)
        if stop.name is not None:
            how = "; ".join(failed) or "running trainings have saved"
            log.warning(f"sweep stopped by {stop.name}: {how}; run the same command to continue")
            raise SystemExit(stop.exit_code)
    if failed:
        raise UserError(f"{'; '.join(failed)}: see above; run the same command to continue")


class _UnderWay:
    """A task, and the job that does it."""

    def __init__(self, task: Task, handle: Handle) -> None:
        self.task, self.handle = task, handle
        self.output = Output(handle.paths.stdout, task.job.label)
        self.asked: Literal["surplus", "stopped"] | None = None  # why it is to end
        self._next_look = 0.0

    def decide(self, stopping: bool, closed: bool) -> None:
        """Whether it is to end: with the sweep, or since nothing is to begin any more, or since it is not wanted."""
        if self.asked is not None:
            return
        if stopping or (closed and not self.output.path.exists()):
            self.asked = "stopped"
        elif time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_S
            self.asked = "surplus" if self.task.is_surplus() else None

    def conclude(self) -> str | None:
        """Tell the task its outcome; what the problem was, None where there was none."""
        if self.asked is not None and not self.handle.paths.result_pickle.exists():
            self.task.ended(self.asked)
            return None
        problem = self._problem()
        if problem is not None:
            log.warning(f"{problem}, log {self.output.path}", extra={"details": self.output.why})
        self.task.ended("done" if problem is None else "failed")
        return problem

    def _problem(self) -> str | None:
        """Why the run is not done, where it is not."""
        folder, handle = self.task.job.folder, self.handle
        deadline = time.monotonic() + RESULT_S
        while not handle.paths.result_pickle.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        if not handle.paths.result_pickle.exists() or handle.exception() is not None:
            return f"{folder}: job {handle.job_id} ended without a result"
        code, seconds = handle.result()
        if code:
            return f"{folder} failed with exit code {code}"
        if (state := read_status(folder / STATUS_FILE).state) != "finished":
            return f"{folder} was {state} before its end"
        if not _has_scores(RunFolder(folder), self.task.job.config.evaluate.select):
            return f"{folder} has no scores of its best checkpoint"
        self.task.job.mark_done(seconds)
        return None


def _start(tasks: Sequence[Task], engine: Engine) -> list[_UnderWay]:
    if not tasks:
        return []
    handles = engine.submit([task.job for task in tasks])
    started = [_UnderWay(task, handle) for task, handle in zip(tasks, handles, strict=True)]
    for own in started:
        here, path = Path.cwd(), own.output.path
        log.info(f"training {own.task.job.folder}, log {path.relative_to(here) if path.is_relative_to(here) else path}")
    return started


def _has_scores(folder: RunFolder, rule: Selection) -> bool:
    """Whether the table can be made; what its training could not score, it scores when it is started again."""
    best = best_step(folder, rule)
    return best is not None and is_scored(folder, best)
