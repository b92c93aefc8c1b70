"""Removing checkpoints: those that need not be kept, and what killed processes left."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from asd.files.atomic import discard
from asd.run_folder.checkpoint import CheckpointConfig, all_steps, is_complete, step_path


def prune(root: Path, config: CheckpointConfig, protected: Collection[int]) -> None:
    """Remove complete checkpoints but the last ones, every N-th, and those that are protected (the best, the unscored).

    An incomplete one is left alone: it may be arriving. What dead saves left goes when training starts.
    """
    steps = [step for step in all_steps(root) if is_complete(step_path(root, step))]
    keep = set(steps[-config.keep_last :]) | set(protected)
    for step in steps:
        if step not in keep and not (config.keep_every_steps and step % config.keep_every_steps == 0):
            _remove(step_path(root, step))
    for removed in root.glob(".partial_removed_*"):  # by a process that was killed meanwhile
        discard(removed)


def set_aside(folder: Path) -> None:
    """Rename a checkpoint that is whole by its sizes but cannot be read, so that its step can be saved again."""
    aside = folder.with_name(f"damaged_{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)


def remove_partial(root: Path) -> None:
    """Remove what saves that never finished left behind (rank 0, before training starts)."""
    for path in root.glob(".partial_*"):
        discard(path)


def _remove(folder: Path) -> None:
    """Remove a checkpoint; it stops being one (by rename) before its files go. A watcher may do so as well."""
    doomed = folder.with_name(f".partial_removed_{folder.name}")
    with suppress(FileNotFoundError):
        folder.rename(doomed)
    discard(doomed)
