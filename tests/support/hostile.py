"""Commands and functions that must refuse a hostile file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asd.errors import UserError

ROOT = Path(__file__).parents[2]


MEMORY = 2 << 30  # address space of a child that reads what would unpack to more


def refused(work: Callable[[], object], *words: str) -> str:
    """The one line that work ends with."""
    with pytest.raises(UserError) as caught:
        work()
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600, line
    for word in words:
        assert word in line
    return line


def command(module: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of ours with little memory."""

    limit = ["bash", "-c", 'ulimit -v "$0" && exec "$@"', str(MEMORY >> 10)]
    return subprocess.run(
        [*limit, sys.executable, "-m", module, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},  # else address space by the number of cores
        check=False,
    )


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


DEEP = "[" * 100_000 + "]" * 100_000
