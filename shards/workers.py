"""Jobs over shards in several processes, with one progress bar, that stop at once when the main process does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from asd.errors import UserError
from shards.progress import Bar

Job = TypeVar("Job")
Result = TypeVar("Result")
Tick = Callable[[], None]  # called by a job after every clip

POLL_S = 0.1
_shared: dict[str, Any] = {}  # a worker's ends of what the main process shares with it


class StoppedError(Exception):
    """The main process gave up; the job's result is of no use to anybody."""


class TerminatedError(SystemExit):
    """SIGTERM, as an exception: what is open gets closed and removed."""


def available_cores() -> int:
    return len(os.sched_getaffinity(0))


@contextmanager
def clean_up_on_sigterm() -> Iterator[None]:
    """SIGTERM within the block raises TerminatedError (exit code 143), so that `finally` and `with` do their work."""

    def terminate(signum: int, frame: object) -> None:
        raise TerminatedError(128 + signum)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_jobs(function: Callable[[Job, Tick], Result], jobs: Sequence[Job], workers: int, bar: Bar) -> list[Result]:
    """`[function(job, tick) for job in jobs]`, in up to `workers` spawned processes; one runs in this process.

    function must be importable. The first exception of a job ends the others and is raised here.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        return [function(job, bar.advance) for job in jobs]
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads can hang in an audio library
    clips_done, stop = context.Value("q", 0), context.Event()
    with ProcessPoolExecutor(workers, context, _start_worker, (clips_done, stop)) as pool:
        futures = [pool.submit(_call, function, job) for job in jobs]
        try:
            _watch(futures, clips_done, bar)
            return [future.result() for future in futures]
        except BrokenProcessPool:
            raise UserError("a worker process was killed (out of memory?): try fewer --workers") from None
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _watch(futures: Sequence[Future[Any]], clips_done: Any, bar: Bar) -> None:
    """Move the bar until all is done; raise what the first failed job raised."""
    pending: set[Future[Any]] = set(futures)
    while pending:
        finished, pending = wait(pending, timeout=POLL_S, return_when=FIRST_EXCEPTION)
        for future in finished:
            future.result()
        bar.at(clips_done.value)


def _start_worker(clips_done: Any, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process decides
    _shared.update(clips_done=clips_done, stop=stop)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A killed main process must not leave workers behind that wait for jobs for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(function: Callable[[Job, Tick], Result], job: Job) -> Result:
    return function(job, _tick)


def _tick() -> None:
    if _shared["stop"].is_set():
        raise StoppedError
    with _shared["clips_done"].get_lock():
        _shared["clips_done"].value += 1
