"""Start the project's commands as real processes, and read what they leave.

`Job` forks its ranks from a server that has imported torch already: the same code, each rank with its own pid, output
and exit code, without three seconds of imports. `torchrun` is the real thing.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
TINY = Path(__file__).with_name("tiny.yaml")
# Also on machines with GPUs.
ON_CPU = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
# A single rank takes every core, and its threads wait for each other for seconds where other processes hold a core.
ONE_THREAD = {"LOCAL_WORLD_SIZE": str(len(os.sched_getaffinity(0)))}

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tests.support.preload"])


HEAD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (\[rank \d+\] )?(info: )?", re.MULTILINE)


def without_heads(lines: str) -> str:
    """Lines of a run without time and rank, and without the level where all is well."""
    return HEAD.sub("", lines)


@dataclass(frozen=True)
class Done:
    """How the ranks of a job ended, in rank order, and what they said, without_heads."""

    codes: list[int | None]
    out: list[str]
    err: list[str]


class Job:
    """A script's main on several forked ranks, under way."""

    def __init__(
        self,
        where: Path,
        arguments: Sequence[str],
        ranks: int = 1,
        script: str = "train_ddp",
        prepare: Callable[[], object] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        where.mkdir(parents=True, exist_ok=True)
        self._logs = [where / f"rank_{rank}" for rank in range(ranks)]
        port = free_port()
        self.ranks: list[BaseProcess] = []
        for rank, log in enumerate(self._logs):
            variables = ON_CPU | ONE_THREAD | (_rank_variables(rank, ranks, port) if ranks > 1 else {}) | (env or {})
            process = _server.Process(target=_be_rank, args=(script, list(arguments), variables, str(log), prepare))
            process.start()
            self.ranks.append(process)

    @property
    def pids(self) -> list[int]:
        return [process.pid or 0 for process in self.ranks]

    @property
    def ended(self) -> bool:
        return not any(process.is_alive() for process in self.ranks)

    def signal(self, number: int) -> None:
        """Send a signal to all ranks that still run."""
        for process in self.ranks:
            if process.is_alive():
                os.kill(process.pid or 0, number)

    def wait(self) -> Done:
        """Until all ranks have ended; a rank that hangs is killed and fails the test."""
        end = time.monotonic() + PATIENCE_S
        for process in self.ranks:
            process.join(max(0.0, end - time.monotonic()))
        hanging = [rank for rank, process in enumerate(self.ranks) if process.is_alive()]
        self.kill()  # no more than a formality where all have ended
        done = Done([p.exitcode for p in self.ranks], self._read("out"), self._read("err"))
        assert not hanging, f"ranks {hanging} hang: {done}"
        return done

    def kill(self) -> None:
        """kill -9 all ranks."""
        for process in self.ranks:
            process.kill()
        for process in self.ranks:
            process.join()

    def _read(self, stream: str) -> list[str]:
        return [without_heads(log.with_suffix(f".{stream}").read_text()) for log in self._logs]


def run(where: Path, arguments: Sequence[str], **options: Any) -> Done:
    """A job, from start to end."""
    return Job(where, arguments, **options).wait()


def succeed(where: Path, arguments: Sequence[str], **options: Any) -> Done:
    done = run(where, arguments, **options)
    assert not any(done.codes), done
    return done


def train_words(shards: Path, folder: Path, *words: str) -> list[str]:
    """The command line of a tiny training run."""
    return ["--config", str(TINY), f"data.shards={shards}", f"run.dir={folder}", *words]


def _rank_variables(rank: int, ranks: int, port: int) -> dict[str, str]:
    """What torchrun would tell a worker."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
    return {name: str(value) for name, value in own.items()} | {"MASTER_ADDR": "127.0.0.1"}


def _be_rank(
    script: str, arguments: list[str], variables: dict[str, str], log: str, prepare: Callable[[], object] | None
) -> None:
    for stream, number in (("out", 1), ("err", 2)):
        descriptor = os.open(f"{log}.{stream}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.update(variables)
    if prepare is not None:
        prepare()
    from asd.errors import run_main

    main = __import__(script).main
    run_main(lambda: main(arguments))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def torchrun(
    log: Path, arguments: Sequence[str], ranks: int = 2, script: str = "train_ddp.py", restarts: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """torchrun as users type it, its words in a file; whatever of it is left at the end is killed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command += [f"--max-restarts={restarts}"] if restarts else []
    with log.open("wb") as out:
        agent = subprocess.Popen(
            [*command, str(ROOT / script), *arguments],
            stdout=out,
            stderr=out,
            env=os.environ | ON_CPU,
            start_new_session=True,
        )
    try:
        yield agent
    finally:
        for pid in [agent.pid, *children(agent.pid)]:
            kill(pid)
        agent.wait()


def children(pid: int) -> list[int]:
    """Direct children of a process, whichever of its threads started them: the workers of a torchrun."""
    try:
        lists = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it ends just now
        return []
    return [int(word) for words in lists for word in words.split()]


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, 9)


def records(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl of a run folder."""
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def losses(folder: Path) -> dict[int, float]:
    """Training loss by step; a step that stands there twice fails the test."""
    found = [(record["step"], record["loss"]) for record in records(folder) if "loss" in record]
    assert len(dict(found)) == len(found), f"steps are written twice: {[step for step, _ in found]}"
    return dict(found)
