"""How a command line ends: one line for a user's mistake, a traceback for ours, and no rank that stays behind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from asd.process import last_word

FAILS = """
import threading, time
from asd.errors import UserError, run_main
def main():
    threading.Thread(target=time.sleep, args=(3600,)).start()  # as a process group that waits for the other ranks
    raise {error}
run_main(main)
"""


def run(error: str, ranks: int, rank: int = 0) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", FAILS.format(error=error)]
    variables = os.environ | {"WORLD_SIZE": str(ranks), "RANK": str(rank)}
    return subprocess.run(words, env=variables, capture_output=True, text=True, check=False)


def test_a_rank_that_fails_says_why_and_waits_for_nobody():
    done = run("ValueError('of ours')", ranks=2, rank=1)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1 and "ValueError: of ours" in done.stderr


@pytest.mark.parametrize("rank", [0, 1])
def test_a_mistake_that_all_ranks_see_is_one_line_of_rank_0(rank):
    done = run("UserError('of the user')", ranks=2, rank=rank)
    assert done.returncode == 2
    assert done.stderr == ("error: of the user\n" if rank == 0 else "")


@pytest.mark.parametrize("rank", [True, False])
def test_only_a_rank_has_the_last_word(monkeypatch: pytest.MonkeyPatch, rank: bool) -> None:
    """Not its scoring process, whose parent is no torchrun."""
    for name in ("RESTART_COUNT", "MAX_RESTARTS"):
        monkeypatch.setenv(f"TORCHELASTIC_{name}", "0")
    monkeypatch.delenv("RANK", raising=False)
    if rank:
        monkeypatch.setenv("RANK", "0")
    started: list[object] = []
    monkeypatch.setattr(last_word.subprocess, "Popen", lambda *words, **_: started.append(words))
    last_word.say_last("x")
    assert len(started) == rank
