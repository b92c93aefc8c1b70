"""A server of shards that stands still or dies; the cache is smaller than the set, so that it is asked all the time."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.soak.job import Job
from benchmarks.soak.round import Round

GIB = 2**30
AWAY_S = (3.0, 7.0)


def server_stalls(round: Round) -> None:
    """The server of the shards stands still for some seconds (SIGSTOP)"""
    with _served(round) as server:
        job = _begin(round, lambda: server.process.suspend())
        server.process.resume()
        round.since = time.monotonic()
        round.finishes(job)


def server_dies(round: Round) -> None:
    """The server of the shards is killed, and is back some seconds later"""
    with _served(round) as server:
        job = _begin(round, server.stop)
        server.start()
        round.since = time.monotonic()
        round.finishes(job, "trying again in")


def _begin(round: Round, hit: Callable[[], None]) -> Job:
    """A run whose server is hit, until that is to be over."""
    room = 2.2 * max(path.stat().st_size for path in round.packed.shards.glob("*.tar")) / GIB  # for two tars
    job = round.start(f"data.cache_dir={round.folder / 'cache'}", f"data.cache_gib={room}")
    round.moment(job, last=20)
    round.strike(hit)
    time.sleep(round.dice.uniform(*AWAY_S))
    return job


class Server:
    """Python's own web server in a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Until it answers."""
        words = [str(self.port), "--bind", "127.0.0.1", "--directory", str(self._folder)]
        quiet = subprocess.DEVNULL
        self.process = psutil.Popen([sys.executable, "-m", "http.server", *words], stdout=quiet, stderr=quiet)
        while True:
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def _served(round: Round) -> Iterator[Server]:
    server = Server(round.packed.shards)
    round.shards = f"http://127.0.0.1:{server.port}"
    try:
        yield server
    finally:
        round.close()
        server.stop()


FAULTS = (server_stalls, server_dies)
