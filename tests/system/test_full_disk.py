"""A disk that fills up while training: one line, and what was complete stays complete."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asd import checkpoint
from tests.system.hooks import no_scoring
from tests.system.launch import Done, run, train_words

KEEP = "checkpoint={every_steps: 1, keep_last: 100}"


@pytest.fixture(params=["1000k", "1800k", "2400k"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of a few checkpoints' size."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def complain(done: Done) -> str:
    """Rank 0's one line; the other rank leaves quietly."""
    assert done.codes[0] == 2, done
    assert done.codes[1] != 0, done
    (line,) = done.err[0].splitlines()
    assert not done.err[1], done.err[1]
    return line


def test_full_disk(small_set: Path, tmp_path: Path, small_disk: Path) -> None:
    folder = small_disk / "run"
    done = run(tmp_path / "log", train_words(small_set, folder, KEEP), ranks=2, prepare=no_scoring)
    line = complain(done)
    assert line.startswith("error: ")
    assert "No space left on device" in line or "cannot write the checkpoint" in line
    steps = checkpoint.complete_steps(folder / "checkpoints")
    assert steps, "the first checkpoint fits"
    for step in steps:
        checkpoint.load(checkpoint.step_path(folder / "checkpoints", step), torch.device("cpu"))
    assert not list((folder / "checkpoints").glob(".partial_*"))
