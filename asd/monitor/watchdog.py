"""A thread on every rank that sees whether the rank gets on, and where it hangs if it does not.

The loop says where it is by plain assignments, which cost it nothing; this looks at them once a second.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from asd.monitor.stages import Position, Stage
from asd.monitor.stalls import Stall, StallFiles, stacks_of_all_threads

TICK_S = 1.0
FIRST_STEP = 5.0  # times the limit: torch.compile, tuning of cuDNN, shards from elsewhere
STDERR = 2


class Listener(Protocol):
    """Hears after every look how things stand."""

    def tick(self, position: Position, progressed_unix: float, stall: Stall | None) -> None: ...


class Watchdog:
    """Tells on stderr, and in a file, once a rank makes no progress for stall_s seconds, and when it goes on."""

    def __init__(self, rank: int, stall_s: float, files: StallFiles, listener: Listener | None = None) -> None:
        self.stall: Stall | None = None
        self._rank, self._stall_s, self._files, self._listener = rank, stall_s, files, listener
        self._where: Callable[[], Position] = Position
        self._first = 0  # the step that the run begins with
        self._position, self._since = Position(), time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def watch(self, where: Callable[[], Position]) -> None:
        """From now on the rank is where this says: at the step that the run begins with, or goes on from."""
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
        """See whether the rank got on since the last look; now: of time.monotonic()."""
        position = self._where()
        if position != self._position or position.stage is Stage.SCORE:  # scores come when they come
            self._goes_on(position, now)
        elif self.stall is None and now - self._since >= self._limit(position):
            self._hangs(position, now)
        if self._listener is not None:
            self._listener.tick(position, time.time() - (now - self._since), self.stall)

    def _run(self) -> None:
        try:
            while not self._end.wait(TICK_S):
                self._guard_against_myself()
                self.look(time.monotonic())
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _guard_against_myself(self) -> None:
        """Stacks on stderr also where this thread itself hangs: on a disk, or for want of the interpreter lock."""
        faulthandler.dump_traceback_later(self._limit(self._position), file=STDERR)

    def _limit(self, position: Position) -> float:
        return self._stall_s * (FIRST_STEP if position.step == self._first else 1.0)

    def _goes_on(self, position: Position, now: float) -> None:
        if self.stall is not None:
            print(f"{self.stall.who}: goes on after {now - self._since:.0f} s", file=sys.stderr, flush=True)
            self._files.end(self.stall, time.time())
            self.stall = None
        self._position, self._since = position, now

    def _hangs(self, position: Position, now: float) -> None:
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
        line = f"{self.stall.who}: no progress for {seconds:.0f} s in stage {position.words} (step {position.step})"
        with suppress(OSError):
            print(f"{line}\n{stacks}", file=sys.stderr, flush=True)
        self._files.write(self.stall, stacks)  # last: the disk may be what hangs
