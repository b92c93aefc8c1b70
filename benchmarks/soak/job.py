"""The entrypoint under way, with every process below it, and its words, each with the time at which it came."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
ENTRYPOINT = ROOT / "docker" / "entrypoint.sh"
MARK = "ASD_SOAK_MARK"  # in the environment of all that a job starts, whoever its parent is by now
LIMIT_S = 600.0  # for anything that is waited for: far more than a sound run takes, on a busy machine as well
GRACE_S = 15.0  # for processes to leave after their job
POLL_S = 0.002
NAMES_A_STEP = re.compile(r"step (\d+)/")
BEGINS = "; watch it: tensorboard"  # of the line that a run writes before its first step


class RoundError(Exception):
    """What was waited for did not come: the round has failed."""


class Job:
    """Two ranks on the CPU under docker/entrypoint.sh, as users start them."""

    def __init__(self, words: Sequence[str], log: Path, **variables: str) -> None:
        self.mark = secrets.token_hex(8)
        self.lines: list[tuple[float, str]] = []  # (monotonic seconds, line)
        self._process = subprocess.Popen(
            [str(ENTRYPOINT), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment() | variables | {MARK: self.mark},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(log,), daemon=True)
        self._reader.start()

    def _read(self, log: Path) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines, log.open("ab", buffering=0) as copy:
            for line in lines:  # until the last process that could write has gone
                copy.write(line)
                self.lines.append((time.monotonic(), line.decode(errors="replace").rstrip()))

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in list(self.lines))

    @property
    def step(self) -> int:
        """The last step that was shown."""
        return max((int(found) for found in NAMES_A_STEP.findall(self.text)), default=0)

    def processes(self) -> list[psutil.Process]:
        """All that the job has started and that still lives."""
        return [process for process in psutil.process_iter() if _environ(process).get(MARK) == self.mark]

    def rank(self, number: int) -> psutil.Process:
        """The process of a rank. Raises RoundError where there is none."""
        return self._one(lambda p: _environ(p).get("RANK") == str(number) and _runs(p, "train_ddp.py") and _is_rank(p))

    def agent(self) -> psutil.Process:
        """torchrun."""
        return self._one(lambda p: _runs(p, "bin/torchrun") and not _is_rank(p))

    def scoring(self) -> psutil.Process | None:
        """The process that scores, where there is one just now."""
        return next((process for process in self.processes() if _runs(process, "asd.evaluate.scoring")), None)

    def _one(self, wanted: Callable[[psutil.Process], bool]) -> psutil.Process:
        found = next((process for process in self.processes() if wanted(process)), None)
        if found is None:
            raise RoundError(f"the process to be hit is not there: {self._last_words()}")
        return found

    def wait_for(self, condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
        """The condition's value once it is true. Raises RoundError where the job ends before, or it takes too long."""
        end = time.monotonic() + limit_s
        while not (value := condition()):
            if self._process.poll() is not None:
                raise RoundError(f"the run ended with {self._process.returncode} before {what}: {self._last_words()}")
            if time.monotonic() > end:
                raise RoundError(f"{what}: not within {limit_s:.0f} s: {self._last_words()}")
            time.sleep(POLL_S)
        return value

    def signal(self, number: int) -> None:
        """To the entrypoint alone, as `docker stop` does."""
        self._process.send_signal(number)

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """The entrypoint's exit code. Raises RoundError where it hangs, or leaves processes behind."""
        try:
            code = self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise RoundError(f"the run hangs: not at its end after {limit_s:.0f} s: {self._last_words()}") from None
        self._wait_for_the_last()
        return code

    def _wait_for_the_last(self) -> None:
        end = time.monotonic() + GRACE_S
        while left := self.processes():
            if time.monotonic() > end:
                names = ", ".join(" ".join(_cmdline(process)[-3:]) for process in left)
                raise RoundError(f"{len(left)} processes are left {GRACE_S:.0f} s after the run: {names}")
            time.sleep(0.05)
        self._reader.join(GRACE_S)

    def kill(self) -> None:
        """kill -9 of everything at once, as a machine that loses its power does."""
        while left := self.processes():
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=1)
        self._process.wait()
        self._reader.join(GRACE_S)

    def _last_words(self) -> str:
        return " / ".join(line for _, line in list(self.lines)[-3:]) or "it said nothing"


def _environment() -> dict[str, str]:
    """No GPU, two ranks, one thread each; this interpreter first on the path."""
    own = {"CUDA_VISIBLE_DEVICES": "", "RANKS": "2", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return os.environ | own | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"}


def _environ(process: psutil.Process) -> dict[str, str]:
    """As the process was started with; empty where it has ended or is another user's."""
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _runs(process: psutil.Process, name: str) -> bool:
    return any(word.endswith(name) for word in _cmdline(process)[:4])


def _is_rank(process: psutil.Process) -> bool:
    return "TORCHELASTIC_RUN_ID" in _environ(process)
