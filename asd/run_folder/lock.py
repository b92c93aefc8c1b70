"""Locks: at most one process trains a run, and one watches it."""

from __future__ import annotations

from asd.files.locks import FolderLock


class RunLock(FolderLock):
    """Held by rank 0 for as long as it trains in a folder."""

    name = ".lock"
    what = "trainings"
    refusal = "another process is training in {root} ({holder}): wait for it, or choose another run.dir"


class WatchLock(FolderLock):
    """Held by the process that scores a run's checkpoints beside its training."""

    name = ".watch.lock"
    what = "watchers"
    refusal = "another watcher is scoring {root} ({holder}): one is enough"
