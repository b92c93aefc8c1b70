"""One file from elsewhere into an open local one: continued where a try ended, tried again with growing waits."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import FileIO

from asd.files.remote import PassingError, RefusedError, Remote

TRIES = 10  # in a row without any progress: four minutes of waiting in all, within train.timeout_s
START_TRIES = 4  # of what a run cannot begin without: seven seconds
FIRST_WAIT_S = 1.0  # doubled after every failure
MAX_WAIT_S = 60.0
MIN_PROGRESS = 1 << 20  # bytes after which failures are counted anew
SLOW_S, SLOW_BYTES = 30.0, 256 << 10  # a connection that brings less in so many seconds is given up for another one

Verify = Callable[[FileIO], str | None]  # what is wrong with a file, None where nothing is


class NotFetchedError(OSError):
    """A file could not be had; one line: which, why, what to do. refused: the answer was no, not silence."""

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class _WrongError(Exception):
    """The file elsewhere is not the one that the manifest speaks of."""


class Downloader:
    """Fetches files of one place; `stop` ends all waiting."""

    def __init__(self, remote: Remote, stop: threading.Event) -> None:
        self.remote = remote
        self._stop = stop
        self._down = False  # the last file was given up for lack of answers: others get one try until one comes

    def fetch(
        self, name: str, out: FileIO, size: int | None, most: int, verify: Verify, tries: int | None = None
    ) -> None:
        """Bring `out`, which may hold a beginning of the file, to the whole of it, verified; size None: not known.

        What is wrong is fetched once more from the start. Raises NotFetchedError after `tries` (TRIES) failures in
        a row, where the file is refused, wrong twice or larger than `most` bytes; what came of it stays in `out`.
        """
        shown = self.remote.shown(name)
        for last in (False, True):
            try:
                self._download(name, out, size, most, tries or TRIES)
                problem = verify(out)
            except _WrongError as error:
                problem = str(error)
            if problem is None:
                return
            out.truncate(0)
            if not last:
                print(f"{shown} {problem}: fetching it again", file=sys.stderr, flush=True)
        raise NotFetchedError(f"{shown} {problem} (fetched twice)", refused=True)

    def _download(self, name: str, out: FileIO, size: int | None, most: int, tries: int) -> None:
        shown, failures, reached = self.remote.shown(name), 0, _size(out)
        while True:
            try:
                self._continue(name, out, size, most)
                self._down = False
                return
            except RefusedError as error:
                told = f"{shown}: {error}; check the address, and that it may be read"
                raise NotFetchedError(told, refused=True) from None
            except PassingError as error:
                if _size(out) >= reached + MIN_PROGRESS:
                    failures, reached, self._down = 0, _size(out), False
                failures += 1
                if failures >= (1 if self._down else tries):
                    self._down = True
                    times = f", {failures} times in a row" if failures > 1 else ""
                    raise NotFetchedError(f"{shown}: {error}{times}; check the network and the server") from None
                wait_s = max(min(FIRST_WAIT_S * 2 ** (failures - 1), MAX_WAIT_S), error.wait_s)
                print(f"{shown}: {error}; trying again in {wait_s:g} s", file=sys.stderr, flush=True)
                self._wait(shown, wait_s)

    def _wait(self, shown: str, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise NotFetchedError(f"{shown}: cancelled, the run is stopping")

    def _continue(self, name: str, out: FileIO, size: int | None, most: int) -> None:
        """One request for what is missing. Raises PassingError where it ends before the file does."""
        here = _size(out)
        if here == size:
            return
        if here > (most if size is None else size):
            out.truncate(here := 0)
        with self.remote.open(name, here) as answer:
            if size is not None and answer.size not in (None, size):
                raise _WrongError(
                    f"has {answer.size:,} bytes where the manifest says {size:,}: upload or pack it again"
                )
            if answer.start not in (0, here):
                raise PassingError(f"bytes from {answer.start} came instead of those from {here}")
            out.truncate(answer.start)  # the whole, asked for or not, replaces what is here
            self._write(name, out, answer.chunks, most if size is None else size)
        expected = answer.size if size is None else size
        if expected is not None and _size(out) < expected:
            raise PassingError(f"the answer ended after {_size(out):,} of {expected:,} bytes")

    def _write(self, name: str, out: FileIO, chunks: Iterator[bytes], most: int) -> None:
        end, begin, counted = out.seek(0, os.SEEK_END), time.monotonic(), 0
        for chunk in chunks:
            end += len(chunk)
            counted += len(chunk)
            if end > most:
                raise _WrongError(f"has more than {most:,} bytes: upload or pack it again")
            _write_all(out, chunk)
            if self._stop.is_set():
                raise NotFetchedError(f"{self.remote.shown(name)}: cancelled, the run is stopping")
            if time.monotonic() - begin > SLOW_S:
                if counted < SLOW_BYTES:
                    raise PassingError(f"only {counted:,} bytes came in {SLOW_S:g} s")
                begin, counted = time.monotonic(), 0


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _write_all(file: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:  # an unbuffered file may take less than it was given
        left = left[file.write(left) :]
