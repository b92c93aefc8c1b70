"""Jobs over shards in several processes or threads, with one progress bar; they stop at once when the main one does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
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


class _Signals:
    """SIGTERM and Ctrl-C as exceptions, but only between the clips or polls of what is being done.

    libsndfile calls back into Python while it codes; an exception there would be printed and forgotten. One that is
    raised while the locks of futures are held would leave them locked, and the pool would never end.
    """

    def __init__(self) -> None:
        self.received = 0
        self.deferred = False

    def handle(self, number: int, frame: object) -> None:
        self.received = number
        if not self.deferred:
            self.raise_received()

    def raise_received(self) -> None:
        number, self.received = self.received, 0
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if number:
            raise TerminatedError(128 + number)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Within the block signals wait for `raise_received`; one that came is raised at its end."""
        self.deferred = True
        try:
            yield
        finally:
            self.deferred = False
        self.raise_received()


_signals = _Signals()


@contextmanager
def clean_up_on_signals() -> Iterator[None]:
    """SIGTERM within the block raises TerminatedError (exit code 143), so that `finally` and `with` do their work."""
    before = {number: signal.signal(number, _signals.handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_jobs(function: Callable[[Job, Tick], Result], jobs: Sequence[Job], workers: int, bar: Bar) -> list[Result]:
    """`[function(job, tick) for job in jobs]`, in up to `workers` spawned processes; one runs in this process.

    function must be importable. The first exception of a job ends the others and is raised here.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        return _run_here(function, jobs, bar)
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads can hang in an audio library
    clips_done, stop = context.Value("q", 0), context.Event()
    executor = ProcessPoolExecutor(workers, context, _start_worker, (clips_done, stop))
    with _signals.held_back(), executor as pool:
        with _ctrl_c_blocked():
            futures = [pool.submit(_call, function, job) for job in jobs]
        try:
            _watch(futures, lambda: bar.at(clips_done.value))
            return [future.result() for future in futures]
        except BrokenProcessPool:
            raise UserError("a worker process was killed (out of memory?): try fewer --workers") from None
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def run_jobs_in_threads(
    function: Callable[[Job, Tick], Result], jobs: Sequence[Job], workers: int, bar: Bar
) -> list[Result]:
    """The same in threads, for jobs that leave the interpreter lock to others: no worker has to be started."""
    stop = threading.Event()

    def tick() -> None:
        if stop.is_set():
            raise StoppedError
        bar.advance()

    with _signals.held_back(), ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(function, job, tick) for job in jobs]
        try:
            _watch(futures)
            return [future.result() for future in futures]
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Processes started here never see a Ctrl-C, which reaches the whole group: the main process decides for all."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_here(function: Callable[[Job, Tick], Result], jobs: Sequence[Job], bar: Bar) -> list[Result]:
    def tick() -> None:
        bar.advance()
        _signals.raise_received()

    with _signals.held_back():
        return [function(job, tick) for job in jobs]


def _watch(futures: Sequence[Future[Any]], move_bar: Callable[[], None] = lambda: None) -> None:
    """Wait until all is done; raise what the first failed job raised."""
    pending: set[Future[Any]] = set(futures)
    while pending:
        _signals.raise_received()
        finished, pending = wait(pending, timeout=POLL_S, return_when=FIRST_EXCEPTION)
        for future in finished:
            future.result()
        move_bar()


def _start_worker(clips_done: Any, stop: Any) -> None:
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
