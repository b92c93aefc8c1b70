"""What scoring costs the training run that it goes on beside."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from asd.errors import UserError
from asd.loggers import read_metrics
from asd.run_folder import RunFolder
from benchmarks.speed.measure import Rounds

ROOT = Path(__file__).resolve().parents[2]
LOG_EVERY = 1  # a line of metrics.jsonl for every update, with its time
WINDOW_S = 2.0  # the scoring process is stopped or continued every so often: the machine's own speed drifts slower
START_S = 180.0
ATTEMPTS = 3  # evaluations for each round
POLL_S = 0.05

console = Console()


@dataclass(frozen=True)
class Steps:
    """Step times with the scoring process stopped and at work, and what it got done."""

    alone: Rounds  # median seconds a step, of each round
    beside: Rounds
    child_percent: Rounds  # of one core, while it was at work


def steps_beside_scoring(shards: Path, run: Path, words: Sequence[str], ranks: int, rounds: int, windows: int) -> Steps:
    """Train with evaluations waiting to be scored in the run's folder. Their scoring processes, which the run itself
    starts, are stopped and continued in turn, so that both sides are of one run. A round is so many windows of
    each kind; one that the process does not last for is taken again with the next."""
    found = Steps([], [], [])
    endless = ["train.epochs=100000", "evaluate.every_epochs=100000", f"train.log_every={LOG_EVERY}"]
    with _training(shards, run, [*words, *endless], ranks) as agent:
        for _ in range(ATTEMPTS * rounds):
            child = _wait_for_scoring(run, agent)
            with suppress(ProcessLookupError, FileNotFoundError):  # its evaluation is scored: the next one is another
                _measure_round(found, run, child, windows)
                alone, beside, work = (column[-1] for column in (found.alone, found.beside, found.child_percent))
                console.print(
                    f"  {1e3 * alone:.1f} ms a step, {1e3 * beside:.1f} beside scoring at {work:.1f} % of a core"
                )
                os.kill(child, signal.SIGCONT)
            if len(found.alone) == rounds:
                break
    if len(found.alone) < rounds:
        raise UserError(f"each evaluation was scored before a round was over (see {run}.log)")
    return found


def _measure_round(found: Steps, run: Path, child: int, windows: int) -> None:
    steps: dict[bool, Rounds] = {False: [], True: []}
    before = _cpu_s(child)
    for window in range(2 * windows):
        at_work = window % 4 in (1, 2)
        os.kill(child, signal.SIGCONT if at_work else signal.SIGSTOP)
        steps[at_work] += _step_s(run, WINDOW_S)
    worked = _cpu_s(child) - before
    found.alone.append(statistics.median(steps[False]))
    found.beside.append(statistics.median(steps[True]))
    found.child_percent.append(100.0 * worked / (windows * WINDOW_S))


@contextmanager
def _training(shards: Path, run: Path, words: Sequence[str], ranks: int) -> Iterator[subprocess.Popen[bytes]]:
    """torchrun as users type it; ended where it has not ended by itself."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command += [str(ROOT / "train_ddp.py"), *words, f"data.shards={shards}", f"run.dir={run}"]
    run.parent.mkdir(parents=True, exist_ok=True)
    threads = str(max(1, len(os.sched_getaffinity(0)) // ranks))
    with run.with_name(run.name + ".log").open("wb") as log:
        agent = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": threads}
        )
        try:
            yield agent
        finally:
            agent.terminate()
            agent.wait()


def _wait_for_scoring(run: Path, agent: subprocess.Popen[bytes]) -> int:
    """The scoring process of a run that has taken its first updates."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and agent.poll() is None:
        child = next(_scoring_of(run), None)
        if child is not None and len(_records(run)) > 2:
            return child
        time.sleep(POLL_S)
    raise UserError(f"training did not start, or all was scored before it did: see {run}.log")


def _scoring_of(run: Path) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if b"asd.scoring" in words and any(str(run).encode() in word for word in words):
            yield int(path.parent.name)


def _step_s(run: Path, window_s: float) -> Rounds:
    """Of the updates that lie in the next seconds as a whole, at least one."""
    first = len(_records(run)) + 1  # the update under way began before
    end = time.monotonic() + window_s
    while time.monotonic() < end or len(_records(run)) <= first:
        if time.monotonic() > end + START_S:
            raise UserError(f"training took no more updates, see {run}.log")
        time.sleep(POLL_S)
    return [record["step_s"] for record in _records(run)[first:]]


def _records(run: Path) -> list[dict[str, float]]:
    path = RunFolder(run).metrics
    return [record for record in read_metrics(path) if "step_s" in record] if path.exists() else []


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
