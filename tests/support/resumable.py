"""A run with dropout on two ranks that keeps every step, to be stopped, killed and cut at will."""

from __future__ import annotations

import shutil
from pathlib import Path

from asd.run_folder import checkpoint
from tests.support.hooks import no_scoring
from tests.support.launch import succeed, train_words

STEPS = 30
WORDS = [
    "backbone={name: resnet50_ir, width: 8, depths: [1, 1, 1, 1], embedding: 32, dropout: 0.4, norm: batch}",
    "checkpoint={every_steps: 1, keep_last: 100}",
    "evaluate={every_epochs: 2, scorers: [{name: centroid}]}",
    "train.epochs=6",
]


def words(shards: Path, folder: Path, *more: str) -> list[str]:
    return train_words(shards, folder, *WORDS, *more)


def train(shards: Path, folder: Path, *more: str) -> str:
    """Train in folder with two ranks; what rank 0 said."""
    log = folder.with_name(folder.name + "_log")
    done = succeed(log, words(shards, folder, *more), ranks=2, prepare=no_scoring)
    return done.out[0] + done.err[0]


def cut(whole: Path, folder: Path, step: int) -> None:
    """A copy of a run as it was when it had saved a step: later checkpoints and all evaluations are lost."""
    shutil.copytree(whole, folder)
    for later in checkpoint.complete_steps(folder / "checkpoints"):
        if later > step:
            shutil.rmtree(checkpoint.step_path(folder / "checkpoints", later))
    shutil.rmtree(folder / "evaluations")


def last_weights(folder: Path) -> bytes:
    return (checkpoint.step_path(folder / "checkpoints", STEPS) / "model.safetensors").read_bytes()
