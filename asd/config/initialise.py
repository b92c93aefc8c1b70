"""The weights that a training starts from: those of another run, of one checkpoint, or of the authors of S2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from asd.config.saved import saved_config
from asd.errors import UserError
from asd.evaluate.history import best_step
from asd.files.safe_torch import load_plain
from asd.losses.base import ClassificationLoss
from asd.run_folder import checkpoint
from asd.run_folder.paths import RunFolder
from asd.tasks.published import is_tastgram, tastgram_weights


def initialise_from(task: nn.Module, source: str, which: Literal["best", "last"], classes: Sequence[str]) -> str:
    """Load the weights that fit; the line that says whose they are, what did not fit and what stays fresh.

    source: a run folder, of which `which` is taken, a checkpoint folder, or a file of the published TASTgram-MFN;
    classes: of the set, such as fan/00, in order. Class centres are taken from a run with the same ones alone; one of
    an older version does not name its classes, and is believed.
    """
    path, left = Path(source), list[str]()
    own, of_classes, others = task.state_dict(), _by_class(task), ""
    if path.is_file():
        weights, left = _published(path, classes)
        found = f"{path}, published"
    else:
        path, why = _checkpoint_of(path, which)
        (weights, meta), found = checkpoint.load_network(path), f"{path}{why}"
        if "classes" not in meta:
            others = "; the names of its classes are unknown"
        elif meta["classes"] != list(classes):
            weights = {name: w for name, w in weights.items() if name not in of_classes}
            others = "; its classes are others"
    fitting = {name: w for name, w in weights.items() if name in own and own[name].shape == w.shape}
    if not fitting:
        raise UserError(f"init_from={source} is a checkpoint of another network: none of its weights matches")
    task.load_state_dict(fitting, strict=False)
    unused = f"; left over: {', '.join(left)}" if left else ""
    others = others if of_classes else ""
    fresh = ", ".join(sorted(set(own) - set(fitting))) or "none"
    return f"loaded weights from {found}; newly initialised: {fresh}{others}{unused}"


def _by_class(task: nn.Module) -> set[str]:
    """The names of a task's tensors that have rows for each class."""
    losses = {name: part for name, part in task.named_modules() if isinstance(part, ClassificationLoss)}
    starts = tuple(f"{name}.{loss.by_class}" for name, loss in losses.items())
    return {name for name in task.state_dict() if name.startswith(starts)}


def _checkpoint_of(folder: Path, which: Literal["best", "last"]) -> tuple[Path, str]:
    """The checkpoint of a run that is chosen, or the folder where it is one itself; and words on the choice."""
    run = RunFolder(folder)
    steps = checkpoint.complete_steps(run.checkpoints)
    if not steps:
        if not checkpoint.is_complete(folder):
            raise UserError(f"init_from={folder} is neither a run with a complete checkpoint nor a checkpoint")
        return folder, ""
    rule = saved_config(run.config).evaluate.select if which == "best" and run.config.is_file() else "last"
    best = best_step(run, rule) if which == "best" else None
    if best is None:
        return checkpoint.step_path(run.checkpoints, steps[-1]), ", the newest"
    if best not in steps:
        raise UserError(
            f"init_from={folder}: its best checkpoint (step {best}) is missing: restore it, name another, or set "
            "init_checkpoint=last"
        )
    return checkpoint.step_path(run.checkpoints, best), f", the best by its own rule ({rule})"


def _published(path: Path, classes: Sequence[str]) -> tuple[dict[str, Tensor], list[str]]:
    advice = "name a run, a checkpoint folder, or weights that the authors of TASTgram-MFN published"
    found = load_plain(path, "state dict of the published TASTgram-MFN", advice)
    if not isinstance(found, dict) or not is_tastgram(found) or not all(isinstance(t, Tensor) for t in found.values()):
        raise UserError(f"init_from={path} is no state dict of the published TASTgram-MFN: {advice}")
    return tastgram_weights(found, classes)
