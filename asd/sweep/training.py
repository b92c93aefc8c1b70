"""What a job of submitit does: one training, in a process group of its own.

Without torch, which the job itself does not need.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from asd.process.stop import StopSignal

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

POLL_S = 0.2  # how soon a training is told that its job is to end


@dataclass
class Training:
    """A command that saves and ends on SIGTERM, and goes on when it is given again."""

    command: Sequence[str]
    environment: Mapping[str, str | None]  # over that of the job; None: not set
    cores: frozenset[int] = frozenset()  # none: all of the job's
    sweep: int = 0  # the process that the command ends with, as on SIGTERM; 0: none on this machine
    _pid: int = field(default=0, init=False)

    def __call__(self) -> tuple[int, float]:
        """Exit code and seconds.

        SystemExit where SIGTERM ended it, or the end of its sweep: a job without a result, which Slurm may have in its
        queue again.
        """
        begin = time.monotonic()
        variables = os.environ | self.environment
        if self.cores:
            os.sched_setaffinity(0, self.cores)  # what is started inherits them
        with StopSignal() as stop:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # Slurm may send it to every process of the job
            child = subprocess.Popen(
                self.command, env={k: v for k, v in variables.items() if v is not None}, process_group=0
            )
            self._pid = child.pid
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
            is_asked = False
            while True:
                with suppress(subprocess.TimeoutExpired):
                    code = child.wait(POLL_S)
                    break
                if not is_asked and (stop.name is not None or self._is_left_alone()):
                    is_asked = True
                    ask_to_stop(child.pid)
        if is_asked:
            raise SystemExit(stop.exit_code)
        return code, time.monotonic() - begin

    def _is_left_alone(self) -> bool:
        return self.sweep != 0 and not Path(f"/proc/{self.sweep}").exists()

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit before the job's time ends, or where it has to leave its node: save, and queue again."""
        from submitit.helpers import DelayedSubmission

        if self._pid:  # it has begun
            ask_to_stop(self._pid)
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)  # not child.wait, which this has interrupted
        return DelayedSubmission(dataclasses.replace(self))


def ask_to_stop(pid: int) -> None:
    """SIGTERM to the ranks of a torchrun, which calls itself failed where it gets the signal; to a training without."""
    for rank in _ranks_of(pid):
        with suppress(ProcessLookupError):
            os.kill(rank, signal.SIGTERM)


def _ranks_of(pid: int) -> list[int]:
    with suppress(OSError):
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        children = [int(child) for task in tasks for child in task.read_text(encoding="utf-8").split()]
        if b"torch.distributed.run" in Path(f"/proc/{pid}/cmdline").read_bytes() and children:
            return children
    return [pid]
