"""A process that dies at any operation of a save leaves every former checkpoint whole, the new one whole or absent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import torch

from asd.run_folder import checkpoint, pruning
from asd.run_folder.checkpoint import CheckpointConfig, Payload
from tests.support.patience import PATIENCE_S

_server = multiprocessing.get_context("forkserver")
OPERATIONS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")
CPU = torch.device("cpu")


def payload(step: int) -> Payload:
    weights = {"weight": torch.full((4,), float(step))}
    return Payload(weights, {"state": {}}, None, {"step": step}, {"step": step, "epoch": 0.0, "world_size": 2}, "")


def save_and_die(root: Path, step: int, last: int) -> None:
    """Save and prune, but die at the operation on files numbered `last`."""
    done = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        if event in OPERATIONS and str(root) in str(arguments[0]):
            done += 1
            if done > last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    checkpoint.save(root, step, payload(step))
    pruning.prune(root, CheckpointConfig(keep_last=2), protected=())


def test_death_at_every_operation(tmp_path: Path) -> None:
    code: int | None = -9
    last = 0
    while code == -9:
        root = tmp_path / str(last)
        for step in (1, 2):
            checkpoint.save(root, step, payload(step))
        process = _server.Process(target=save_and_die, args=(root, 3, last))
        process.start()
        process.join(PATIENCE_S)
        code = process.exitcode
        steps = checkpoint.complete_steps(root)
        assert steps in ([1, 2], [1, 2, 3], [2, 3]), last
        for step in steps:
            assert checkpoint.load(checkpoint.step_path(root, step), CPU).model["weight"][0] == step
        pruning.remove_partial(root)
        checkpoint.save(root, 3, payload(3))
        assert checkpoint.complete_steps(root) == sorted({*steps, 3}), "the next attempt succeeds"
        last += 1
    assert code == 0
    assert last > 15, "operations that were interrupted"
    assert steps == [2, 3]
