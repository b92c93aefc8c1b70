"""What tests must not leave: processes, and files in the working tree."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
MARK = "ASD_TEST_SESSION"  # in the environment of every process that this one starts, whoever is its parent by then
HELPERS = ("multiprocessing.forkserver", "multiprocessing.resource_tracker")  # of this process, and end with it
GRACE_S = 60.0  # for processes that were told to end

os.environ[MARK] = f"{os.getpid()}.{time.time_ns()}"


def files() -> set[str]:
    """What lies where a command without a folder of its own would write; caches left out."""
    places = [ROOT, ROOT / "data", ROOT / "runs", ROOT / "docs"]
    found = [path for place in places if place.is_dir() for path in place.iterdir()]
    return {str(path.relative_to(ROOT)) for path in found if path.name[0] not in "._"}


def processes(grace_s: float = GRACE_S) -> list[str]:
    """The command lines of those that still run so many seconds later."""
    end = time.monotonic() + grace_s
    while (found := _running()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def _running() -> list[str]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid == os.getpid() or process.environ().get(MARK) != os.environ[MARK]:
                continue
            command = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and not any(helper in command for helper in HELPERS):
                found.append(f"{process.pid}: {command}")
    return found
