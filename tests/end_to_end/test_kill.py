"""kill -9 at random moments: the run goes on from its newest complete checkpoint, and none is lost."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
import torch

from asd.run_folder import checkpoint
from tests.support.hooks import slow_saves
from tests.support.launch import Job, children, kill, losses, records, torchrun
from tests.support.patience import wait_for
from tests.support.resumable import STEPS, last_weights, train, words

ROUNDS = int(os.environ.get("ASD_SOAK_ROUNDS", "6"))
KEEP_LAST = "checkpoint.keep_last=2"


@pytest.fixture
def dice() -> random.Random:
    """Other moments in every run of the tests; a failure shows the seed."""
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    return random.Random(seed)


def test_torchrun_brings_a_killed_rank_back(
    small_set: Path, unbroken: Path, tmp_path: Path, dice: random.Random
) -> None:
    folder, moment = tmp_path / "run", dice.randint(STEPS // 2, STEPS - 5)
    with torchrun(tmp_path / "log", words(small_set, folder, "evaluate.every_epochs=6"), restarts=3) as agent:
        wait_for(lambda: len(records(folder)) >= moment)
        kill(dice.choice(children(agent.pid)[:2]))
        code = agent.wait()
    said = (tmp_path / "log").read_text()
    assert code == 0, said
    assert "resuming from step " in said
    assert losses(folder) == losses(unbroken)
    assert last_weights(folder) == last_weights(unbroken)


def test_ranks_end_with_a_killed_torchrun(small_set: Path, tmp_path: Path) -> None:
    """Else they would train on, and a run that is started in their place would be refused."""
    folder = tmp_path / "run"
    with torchrun(
        tmp_path / "log", words(small_set, folder, "train.epochs=10000", "evaluate.every_epochs=10000")
    ) as agent:
        wait_for(lambda: records(folder))
        ranks = children(agent.pid)
        kill(agent.pid)
        wait_for(lambda: not any(map(command, ranks)))


def test_everything_is_killed_including_torchrun(
    small_set: Path, unbroken: Path, tmp_path: Path, dice: random.Random
) -> None:
    folder, moment = tmp_path / "run", dice.randint(2, STEPS - 5)  # the second line follows the first checkpoint
    with torchrun(tmp_path / "log", words(small_set, folder)) as agent:
        wait_for(lambda: len(records(folder)) >= moment)
    assert agent.returncode == -9
    assert "resuming from step " in train(small_set, folder)
    assert losses(folder) == losses(unbroken)


def test_kills_in_the_middle_of_saves(small_set: Path, unbroken: Path, tmp_path: Path, dice: random.Random) -> None:
    """One run, killed again and again while it saves every step, as often as not inside a save."""
    folder = tmp_path / "run"
    checkpoints, inside = folder / "checkpoints", 0
    for _ in range(ROUNDS):
        before, after = kill_while_saving(words(small_set, folder, KEEP_LAST), tmp_path / "log", checkpoints, dice)
        gone = set(before) - set(after)
        assert all(sum(newer > step for newer in after) >= 2 for step in gone), (before, after)
        inside += any(checkpoints.glob(".partial_*"))
        checkpoint.load(checkpoint.step_path(checkpoints, after[-1]), torch.device("cpu"))
    print(f"{inside} of {ROUNDS} kills fell into a save")
    train(small_set, folder, KEEP_LAST)
    assert losses(folder) == losses(unbroken)
    assert last_weights(folder) == last_weights(unbroken)
    assert not list(checkpoints.glob(".partial_*"))


def kill_while_saving(
    arguments: list[str], log: Path, checkpoints: Path, dice: random.Random
) -> tuple[list[int], list[int]]:
    """Start a run, kill it a moment after its first new checkpoint; the complete steps just before and after."""
    known = checkpoint.complete_steps(checkpoints)
    job = Job(log, arguments, ranks=2, prepare=slow_saves)
    wait_for(lambda: job.ended or checkpoint.complete_steps(checkpoints)[-1:] > known[-1:])
    time.sleep(dice.uniform(0, 0.2))
    before = checkpoint.complete_steps(checkpoints)
    job.kill()
    return before, checkpoint.complete_steps(checkpoints)


def test_scoring_ends_with_a_killed_run(small_set: Path, tmp_path: Path) -> None:
    """Else it would write into a folder that the resumed run scores again."""
    folder = tmp_path / "run"
    job = Job(tmp_path / "log", words(small_set, folder, "train.epochs=1"), ranks=1)
    (scoring,) = wait_for(lambda: [pid for pid in children(job.pids[0]) if b"asd.evaluate.scoring" in command(pid)])
    job.kill()
    wait_for(lambda: not command(scoring))


def command(pid: int) -> bytes:
    """The command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
