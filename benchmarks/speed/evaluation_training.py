"""What scoring costs the training run that it goes on beside."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from asd.errors import UserError
from benchmarks.running import ENDLESS, Training, training
from benchmarks.speed.measure import Rounds

WINDOW_S = 2.0  # the scoring process is stopped or continued every so often: the machine's own speed drifts slower
ATTEMPTS = 3  # evaluations for each round

console = Console()


@dataclass(frozen=True)
class Steps:
    """Step times with the scoring process stopped and at work, and what it got done."""

    alone: Rounds = field(default_factory=list)  # median seconds a step, of each round
    beside: Rounds = field(default_factory=list)
    child_percent: Rounds = field(default_factory=list)  # of one core, while it was at work


def steps_beside_scoring(shards: Path, run: Path, words: Sequence[str], ranks: int, rounds: int, windows: int) -> Steps:
    """Train with evaluations waiting to be scored in the run's folder. Their scoring processes, which the run itself
    starts, are stopped and continued in turn, so that both sides are of one run. A round is so many windows of
    each kind; one that the process does not last for is taken again with the next."""
    found = Steps()
    with training(shards, run, [*words, *ENDLESS], ranks) as job:
        for _ in range(ATTEMPTS * rounds):
            job.wait_for(lambda: len(job.steps) > 2 and any(_scoring_of(run)))
            with suppress(ProcessLookupError, FileNotFoundError, StopIteration):  # it is scored: the next is another
                child = next(_scoring_of(run))
                _measure_round(found, job, child, windows)
                os.kill(child, signal.SIGCONT)
                console.print(f"  {1e3 * found.alone[-1]:.1f} ms a step, {1e3 * found.beside[-1]:.1f} beside scoring")
            if len(found.alone) == rounds:
                return found
    raise UserError(f"each evaluation was scored before a round was over (see {job.log})")


def _measure_round(found: Steps, job: Training, child: int, windows: int) -> None:
    steps: dict[bool, Rounds] = {False: [], True: []}
    before = _cpu_s(child)
    for window in range(2 * windows):
        at_work = window % 4 in (1, 2)
        os.kill(child, signal.SIGCONT if at_work else signal.SIGSTOP)
        steps[at_work] += _step_s(job)
    worked = _cpu_s(child) - before
    found.alone.append(statistics.median(steps[False]))
    found.beside.append(statistics.median(steps[True]))
    found.child_percent.append(100.0 * worked / (windows * WINDOW_S))


def _scoring_of(run: Path) -> Iterator[int]:
    """Processes that score evaluations of a run."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            words = path.read_bytes().split(b"\0")
            if b"asd.evaluate.scoring" in words and any(str(run).encode() in word for word in words):
                yield int(path.parent.name)


def _step_s(job: Training) -> Rounds:
    """Of the updates that lie in the next seconds as a whole, at least one."""
    first = len(job.steps) + 1  # the update under way began before
    end = time.monotonic() + WINDOW_S
    job.wait_for(lambda: time.monotonic() >= end and len(job.steps) > first)
    return [record["step_s"] for record in job.steps[first:]]


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
