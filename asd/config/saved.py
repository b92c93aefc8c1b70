"""The settings that a run was trained with."""

from __future__ import annotations

from pathlib import Path

from asd.config.load import load_config
from asd.config.run import RunConfig
from asd.errors import UserError
from asd.run_folder import checkpoint
from asd.run_folder.paths import RunFolder


def config_of(folder: RunFolder) -> RunConfig | None:
    """The config of a run's newest checkpoint; None where a run has none yet, and so nothing that would be lost.

    Raises UserError where it cannot be read: another version of this program left it, or somebody changed it.
    """
    saved = (checkpoint.step_path(folder.checkpoints, step) for step in checkpoint.all_steps(folder.checkpoints)[::-1])
    for path in filter(checkpoint.is_complete, saved):
        try:
            return saved_config(path / "config.yaml")
        except UserError:
            if checkpoint.is_sound(path):
                raise  # of a damaged one the one before says the same
    return saved_config(folder.config) if folder.evaluations.is_dir() and folder.config.is_file() else None


def saved_config(path: Path) -> RunConfig:
    """The config that a run left; UserError where another version of this program left it, or somebody changed it."""
    try:
        return load_config(path)
    except UserError as error:
        raise UserError(f"{error} (saved by another version of this program, or changed by hand)") from None
