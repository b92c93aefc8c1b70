"""Commands as users type them: how long they take, and how much memory all their processes do together."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from asd.errors import UserError
from benchmarks.running import ROOT

POLL_S = 0.5  # looking costs a few milliseconds for a GiB


@dataclass(frozen=True)
class Watched:
    """One command, or several one after the other."""

    seconds: float
    gib: float  # of all its processes at the same time, at most; memory that they share counts once

    def then(self, other: Watched) -> Watched:
        return Watched(self.seconds + other.seconds, max(self.gib, other.gib))


def watch(command: Sequence[str], log: Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Watched:
    """Run a command to its end; what it says is added to log. UserError where it fails."""
    most, begin = 0, time.perf_counter()
    with log.open("ab") as out:
        job = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=out, stderr=out)
        while job.poll() is None:
            most = max(most, _memory(job.pid))
            time.sleep(POLL_S)
    if job.returncode:
        raise UserError(f"{' '.join(command)} exited with {job.returncode}: see {log}")
    return Watched(time.perf_counter() - begin, most / 2**30)


def _memory(pid: int) -> int:
    """Bytes of a process and all below it, shared ones divided among those who share them."""
    try:
        parent = psutil.Process(pid)
        return sum(_pss(process) for process in (parent, *parent.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
        return 0
