"""docker/entrypoint.sh as a container or a cluster starts it, without either: bash, torchrun, real ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.launch import ON_CPU, ROOT, children, kill, train_words

ENTRYPOINT = ROOT / "docker" / "entrypoint.sh"


def endless(shards: Path, folder: Path, *words: str) -> list[str]:
    """A run that goes on until it is stopped, without evaluations."""
    return train_words(shards, folder, "train.steps=100000", "evaluate.every_epochs=100000", *words)


@contextmanager
def entrypoint(
    log: Path, arguments: Sequence[str], before: Sequence[str] = (), **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The entrypoint under way, its words added to a file; whatever of it is left at the end is killed.

    `before`: a command that it runs under, such as `ip netns exec …`.
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*before, str(ENTRYPOINT), *arguments],
            stdout=out,
            stderr=out,
            env=os.environ | ON_CPU | {"PATH": path, "RANKS": "1"} | variables,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill_tree(process)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """kill -9 a process and all below it, as a machine that loses its power does."""
    for pid in [process.pid, *descendants(process.pid)]:
        kill(pid)
    process.wait()


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    return [found for child in children(pid) for found in (child, *descendants(child))]


def workers(pid: int) -> list[int]:
    """The ranks below an entrypoint: what its torchrun has started."""
    return [worker for child in children(pid) if "torchrun" in command(child) for worker in children(child)]


def command(pid: int) -> str:
    """The command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
