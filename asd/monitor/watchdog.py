"""A thread on every rank that checks whether the rank makes progress, and reports where it is stalled.

The loop says where it is by plain assignments, which cost it nothing; this looks at them once a second.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from asd.monitor.stages import Position, Stage
from asd.monitor.stalls import Stall, StallFiles, stacks_of_all_threads

log = logging.getLogger(__name__)

TICK_S = 1.0
FIRST_STEP = 5.0  # times the limit: torch.compile, tuning of cuDNN, shards from elsewhere
STDERR = 2


class Listener(Protocol):
    """Hears after every look how things stand."""

    def tick(self, position: Position, progressed_unix: float, stall: Stall | None) -> None: ...


class Watchdog:
    """Warns, and writes a file, when its rank has made no progress for stall_s seconds; says when there is progress."""

    def __init__(self, rank: int, stall_s: float, files: StallFiles, listener: Listener | None = None) -> None:
        self.stall: Stall | None = None
        self._rank, self._stall_s, self._files, self._listener = rank, stall_s, files, listener
        self._where: Callable[[], Position] = Position
        self._first = 0  # the step that the run begins with
        self._position, self._since = Position(), time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def watch(self, where: Callable[[], Position]) -> None:
        """where: the rank's position from now on, at first the step that the run begins with or resumes from."""
        self._first, self._where = where().step, where

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Look for the last time; to stop twice does nothing."""
        if not self._end.is_set():
            self._end.set()
            self._thread.join()
            self.look(time.monotonic())
            self._where = Position  # lets go of the loop, and so of the process group

    def look(self, now: float) -> None:
        """Check whether the rank made progress since the last look; now: of time.monotonic()."""
        position = self._where()
        if position != self._position or position.stage is Stage.SCORE:  # scores come when they come
            self._end_stall(position, now)
        elif self.stall is None and now - self._since >= self._limit(position):
            self._begin_stall(position, now)
        if self._listener is not None:
            self._listener.tick(position, time.time() - (now - self._since), self.stall)

    def _run(self) -> None:
        try:
            while not self._end.wait(TICK_S):
                # Stacks on stderr also where this thread itself is stalled: on a disk, or on the interpreter's lock.
                faulthandler.dump_traceback_later(self._limit(self._position), file=STDERR)
                self.look(time.monotonic())
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _limit(self, position: Position) -> float:
        return self._stall_s * (FIRST_STEP if position.step == self._first else 1.0)

    def _end_stall(self, position: Position, now: float) -> None:
        if self.stall is not None:
            log.info(f"progress again on {self.stall.host} after {now - self._since:.0f} s")
            self._files.end(self.stall, time.time())
            self.stall = None
        self._position, self._since = position, now

    def _begin_stall(self, position: Position, now: float) -> None:
        seconds = now - self._since
        self.stall = Stall(
            rank=self._rank,
            host=socket.gethostname(),
            pid=os.getpid(),
            position=position,
            since_unix=time.time() - seconds,
            told_unix=time.time(),
        )
        stacks = stacks_of_all_threads()
        line = f"no progress on {self.stall.host} for {seconds:.0f} s in stage {position.words} (step {position.step})"
        with suppress(OSError):
            log.warning(line, extra={"fields": {"step": position.step}, "details": stacks})
        self._files.write(self.stall, stacks)  # last: the disk may be the cause
