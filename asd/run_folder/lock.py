"""One process trains a run, and one watches it."""

from __future__ import annotations

import os
from pathlib import Path

from asd.errors import UserError
from asd.files.locks import lock, warn_of_no_locks


class RunLock:
    """Held by rank 0 for as long as it trains in a folder; the system lets go of it when the process ends."""

    file = ".lock"
    what = "trainings"
    refusal = "another process is training in {root} just now: wait for it, or choose another run.dir"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptor: int | None = None

    def take(self) -> None:
        """UserError where another process holds it just now."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._root / self.file, os.O_RDWR | os.O_CREAT)
        held = lock(self._descriptor, wait=False)
        if held == "another's":
            raise UserError(self.refusal.format(root=self._root))
        if held == "none":
            warn_of_no_locks(self._root, self.what)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class WatchLock(RunLock):
    """Held by the process that scores a run's checkpoints beside its training."""

    file = ".watch.lock"
    what = "watchers"
    refusal = "another watcher is scoring {root} just now: one is enough"
