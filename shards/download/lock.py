"""One download at a time into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asd.errors import UserError
from asd.files.locks import lock, warn_of_no_locks

LOCK_FILE = ".download.lock"


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Make the folder and hold its lock, which goes with the process. Raises UserError where another one holds it."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK_FILE).open("wb") as file:
        held = lock(file.fileno(), wait=False)
        if held == "another's":
            raise UserError(f"another run is downloading into {out} just now: wait for it, or stop it")
        if held == "none":
            warn_of_no_locks(out, "downloads")
        yield
