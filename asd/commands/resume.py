"""Resuming from the newest checkpoint, or starting from the weights of another run."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from asd.config.build import Setup
from asd.config.identity import RESUMING, differences, in_words
from asd.config.initialise import initialise_from
from asd.config.run import RunConfig
from asd.config.saved import config_of
from asd.distributed.ranks import Ranks
from asd.errors import UserError
from asd.files.paths import check_within
from asd.run_folder import checkpoint, pruning
from asd.run_folder.checkpoint import Payload
from asd.run_folder.paths import RunFolder
from asd.run_folder.provenance import check_identity

# Of what may change; the evaluation is told: numbers before and after it may not be comparable.
UNTOLD = RESUMING - {
    "train.epochs", "train.steps", "train.accumulate", "train.ema", "distributed.precision", "evaluate",
}  # fmt: skip

log = logging.getLogger(__name__)


def check_run(folder: RunFolder, setup: Setup) -> RunConfig | None:
    """The config with which the run in a folder was trained last, None where there is none yet.

    Raises UserError where its settings, set or network are others.
    """
    config = setup.config
    check_within("run.dir", folder.root, [setup.data.manifest.root])
    former = check_settings(folder, config)
    folder.check(setup.identity)
    if config.resume == "never" and checkpoint.complete_steps(folder.checkpoints):
        raise UserError(f"{folder.root} holds checkpoints and resume=never: choose another run.dir, or resume=auto")
    return former


def check_settings(folder: RunFolder, config: RunConfig) -> RunConfig | None:
    """The same, where all that can be compared is the settings."""
    former = config_of(folder)
    if former is not None and (found := differences(former, config, RESUMING)):
        raise UserError(
            f"{folder.root} belongs to a run with another {in_words(found)}: leave it as it was, or choose another "
            f"run.dir (init_from={folder.root} begins with its weights)"
        )
    return former


def open_run(setup: Setup, folder: RunFolder, ranks: Ranks) -> Payload | None:
    """The newest checkpoint of the run folder that can be read; UserError where the folder is another run's."""

    def complete_steps() -> list[int]:
        check_run(folder, setup)
        return checkpoint.complete_steps(folder.checkpoints)

    for step in reversed(ranks.run_on_main(complete_steps)):
        path = checkpoint.step_path(folder.checkpoints, step)
        try:
            found = ranks.run_on_all(lambda path=path: checkpoint.load(path, ranks.device))  # type: ignore[misc]
        except UserError as error:
            ranks.run_on_main(lambda path=path, error=error: _set_aside(path, error))  # type: ignore[misc]
            if ranks.is_main:
                log.warning(f"{error}: moved to damaged_…, falling back to the one before")
            continue
        ranks.run_on_main(lambda path=path: check_identity(path / "meta.json", setup.identity))  # type: ignore[misc]
        return found
    return None


def _set_aside(folder: Path, error: UserError) -> None:
    """What some rank could not read, unless rank 0 can: another node may not see it, a GPU may be full."""
    try:
        checkpoint.load(folder, torch.device("cpu"))
    except UserError:
        pruning.set_aside(folder)
        return
    raise UserError(f"{error}; but rank 0 can read it: make the run folder visible to all nodes, or free GPU memory")


def initialise(setup: Setup, folder: RunFolder, ranks: Ranks, resumed: Payload | None) -> None:
    """Say where the weights come from, and load those of init_from where no checkpoint takes precedence."""
    config = setup.config
    if resumed is not None:
        before, precision = resumed.meta["world_size"], resumed.meta.get("precision", ranks.precision)
        change = "" if before == ranks.world_size else f", saved by {before} ranks, now {ranks.world_size}"
        change += "" if precision == ranks.precision else f", computed in {precision}, now in {ranks.precision}"
        say(ranks, f"resuming from step {resumed.meta['step']}{change}")
        former = config_of(folder) if ranks.is_main else None
        if former is not None and (found := differences(former, config, UNTOLD)):
            say(ranks, f"changed since then: {in_words(found)}")
        if config.train.ema is not None and resumed.averaged is None:
            say(ranks, f"this checkpoint has no averaged weights: train.ema={config.train.ema:g} starts at its weights")
    elif config.init_from is not None:
        source, which = config.init_from, config.init_checkpoint
        say(ranks, ranks.run_on_all(lambda: initialise_from(setup.task, source, which, setup.classes)))


def say(ranks: Ranks, line: str) -> None:
    if ranks.is_main:
        log.info(line)
