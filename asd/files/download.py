"""Resumable download of one file into an open local one, with retries and increasing waits.

Of its own because neither pooch 1.9 nor fsspec 2026.9 continues a file: both ask for it from the start after a cut.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO

from asd.files.remote import PassingError, RefusedError, Remote

log = logging.getLogger(__name__)

TRIES = 10  # in a row without any progress: four minutes of waiting in all, within distributed.timeout_s
START_TRIES = 4  # of what a run cannot begin without: seven seconds
FIRST_WAIT_S = 1.0  # doubled after every failure
MAX_WAIT_S = 60.0
MIN_PROGRESS = 1 << 20  # bytes after which failures are counted anew
SLOW_S, SLOW_BYTES = 30.0, 256 << 10  # a connection that brings less in so many seconds is given up for another one

Verify = Callable[[FileIO], str | None]  # what is wrong with a file, such as "is corrupt"; None: nothing

Progress = Callable[[int], None]  # takes the bytes of a file that are here, which may become fewer


@dataclass(frozen=True)
class Wanted:
    """A file to fetch: its name in the remote, and what must be true of it."""

    name: str
    verify: Verify
    remedy: str  # where it is wrong
    size: int | None  # bytes; None: not known
    max_bytes: int  # where the size is not known
    tries: int | None = None  # None: TRIES
    progress: Progress = lambda _: None

    @property
    def limit(self) -> int:
        return self.max_bytes if self.size is None else self.size


class NotFetchedError(OSError):
    """A file could not be had; one line: which, why, what to do. refused: the answer was no, not silence."""

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class _WrongError(Exception):
    """The file elsewhere is not the expected one."""


class Downloader:
    """Fetches files of one remote; `stop` ends all waiting."""

    def __init__(self, remote: Remote, stop: threading.Event) -> None:
        self.remote = remote
        self._stop = stop
        self._down = False  # the last file was given up for lack of answers: others get one try until one comes

    def fetch(self, file: Wanted, out: FileIO) -> None:
        """Bring `out`, which may hold a beginning of the file, to the whole of it, verified and on the disk.

        What is wrong is emptied and fetched once more. Raises NotFetchedError where it is wrong again, refused, or
        after too many failures in a row, when a beginning stays in `out` for the next time.
        """
        shown = self.remote.shown(file.name)
        for last in (False, True):
            try:
                self._download(file, out)
                problem = file.verify(out)
            except _WrongError as error:
                problem = str(error)
            if problem is None:
                os.fsync(out.fileno())
                return
            out.truncate(0)
            if not last:
                log.warning(f"{shown} {problem}: downloading it again")
        raise NotFetchedError(f"{shown} {problem} (downloaded twice): {file.remedy}", refused=True)

    def _download(self, file: Wanted, out: FileIO) -> None:
        """All bytes, with as many requests as it takes. Only more than was ever there counts as progress."""
        shown, failures, reached = self.remote.shown(file.name), 0, _size(out)
        while True:
            try:
                self._continue(file, out)
                self._down = False
                return
            except RefusedError as error:
                told = f"{shown}: {error}; check the address, and that it may be read"
                raise NotFetchedError(told, refused=True) from None
            except PassingError as error:
                if _size(out) >= reached + MIN_PROGRESS:
                    failures, reached, self._down = 0, _size(out), False
                failures += 1
                if failures >= (1 if self._down else file.tries or TRIES):
                    self._down = True
                    times = f", {failures} times in a row" if failures > 1 else ""
                    raise NotFetchedError(f"{shown}: {error}{times}; check the network and the server") from None
                wait_s = max(min(FIRST_WAIT_S * 2 ** (failures - 1), MAX_WAIT_S), error.wait_s)
                log.warning(f"{shown}: {error}; trying again in {wait_s:g} s")
                if self._stop.wait(wait_s):
                    raise self._cancelled(file) from None

    def _continue(self, file: Wanted, out: FileIO) -> None:
        """One request for what is missing. Raises PassingError where it ends before the file does."""
        here = _size(out)
        if here > file.limit:
            out.truncate(here := 0)
        if here == file.size:
            return file.progress(here)
        with self.remote.open(file.name, here) as answer:
            if file.size is not None and answer.size not in (None, file.size):
                raise _WrongError(f"has {answer.size:,} bytes where {file.size:,} are expected")
            if answer.start not in (0, here):
                out.truncate(0)  # or the same would come again
                raise PassingError(f"bytes from {answer.start} were sent instead of those from {here}")
            out.truncate(answer.start)  # the whole, asked for or not, replaces what is here
            self._write(file, out, answer.chunks)
        expected = answer.size if file.size is None else file.size
        if expected is not None and _size(out) < expected:
            raise PassingError(f"the answer ended after {_size(out):,} of {expected:,} bytes")
        return None

    def _write(self, file: Wanted, out: FileIO, chunks: Iterator[bytes]) -> None:
        end, begin, counted = out.seek(0, os.SEEK_END), time.monotonic(), 0
        for chunk in chunks:
            end += len(chunk)
            counted += len(chunk)
            if end > file.limit:
                raise _WrongError(f"is larger than the expected {file.limit:,} bytes")
            left = memoryview(chunk)
            while left:  # an unbuffered file may take less than it was given
                left = left[out.write(left) :]
            file.progress(end)
            if self._stop.is_set():
                raise self._cancelled(file)
            if time.monotonic() - begin > SLOW_S:
                if counted < SLOW_BYTES:
                    raise PassingError(f"only {counted:,} bytes received in {SLOW_S:g} s")
                begin, counted = time.monotonic(), 0

    def _cancelled(self, file: Wanted) -> NotFetchedError:
        return NotFetchedError(f"{self.remote.shown(file.name)}: cancelled, the run is stopping")


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size
