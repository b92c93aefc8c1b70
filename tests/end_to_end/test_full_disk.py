"""A disk that fills up while training: one line, and what was complete stays complete."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from asd.run_folder import checkpoint
from tests.support.hooks import no_scoring
from tests.support.launch import Done, run, train_words

KEEP = "checkpoint={every_steps: 1, keep_last: 100}"


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of a given size in a folder."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def complain(done: Done) -> str:
    """Rank 0's one line; the other rank says no more than that it is left alone."""
    assert done.codes[0] == 2, done
    assert done.codes[1] != 0, done
    (line,) = done.err[0].splitlines()
    assert done.err[1] == "" or re.fullmatch(r"error: another rank exited, shutting down .*\n", done.err[1]), done.err[
        1
    ]
    return line


@pytest.mark.parametrize("size", ["1000k", "1800k", "2400k"])
def test_while_saving(small_set: Path, tmp_path: Path, size: str) -> None:
    """The disk has room for one to three checkpoints."""
    folder = tmp_path / "disk" / "run"
    with small_disk(folder.parent, size):
        done = run(tmp_path / "log", train_words(small_set, folder, KEEP), ranks=2, prepare=no_scoring)
        line = complain(done)
        assert line.startswith("error: ")
        assert "No space left on device" in line or "cannot write, 0 MiB free" in line
        steps = checkpoint.complete_steps(folder / "checkpoints")
        assert steps, "the first checkpoint fits"
        for step in steps:
            checkpoint.load(checkpoint.step_path(folder / "checkpoints", step), torch.device("cpu"))
        assert not list((folder / "checkpoints").glob(".partial_*"))


@pytest.mark.parametrize(("part", "size"), [("evaluations", "16k"), ("tensorboard", "4k")])
def test_elsewhere(small_set: Path, tmp_path: Path, part: str, size: str) -> None:
    folder = tmp_path / "run"
    with small_disk(folder / part, size):
        line = complain(run(tmp_path / "log", train_words(small_set, folder), ranks=2, prepare=no_scoring))
    assert line.startswith("error: ")
    assert "No space left on device" in line
    assert str(folder / part) in line
