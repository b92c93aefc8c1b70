"""The real command under torchrun, watched through what it writes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from asd.errors import UserError
from asd.loggers.jsonl import METRICS_FILE, read_metrics

ROOT = Path(__file__).resolve().parents[1]
ENDLESS = ("train.log_every=1", "train.epochs=100000", "evaluate.every_epochs=100000")
LIMIT_S = 600.0  # for anything that is waited for


class Training:
    """A run under way, in a folder whose name with .log holds what it says."""

    def __init__(self, run: Path, job: subprocess.Popen[bytes]) -> None:
        self.run, self.job, self.log = run, job, run.with_name(f"{run.name}.log")

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def steps(self) -> list[dict[str, float]]:
        """The lines of metrics.jsonl that tell of updates."""
        path = self.run / METRICS_FILE
        return [record for record in read_metrics(path) if "step_s" in record] if path.is_file() else []

    def wait_for(self, ready: Callable[[], object], poll_s: float = 0.02) -> float:
        """The monotonic clock when that is so. Raises UserError where the run ends before, or it takes too long."""
        end = time.monotonic() + LIMIT_S
        while not ready():
            if self.job.poll() is not None or time.monotonic() > end:
                raise UserError(f"a run ended before its time, or went no further: see {self.log}")
            time.sleep(poll_s)
        return time.monotonic()

    def step_s(self, steps: int) -> float:
        """Median seconds of so many updates behind the first, which is warm-up."""
        self.wait_for(lambda: len(self.steps) > steps)
        return statistics.median(record["step_s"] for record in self.steps[1:])


@contextmanager
def training(shards: Path, run: Path, words: Sequence[str], ranks: int) -> Iterator[Training]:
    """torchrun as users type it, with all cores; stopped by SIGTERM in the end, as a batch system would."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command += [str(ROOT / "train_ddp.py"), *words, f"data.shards={shards}", f"run.dir={run}"]
    threads = str(max(1, len(os.sched_getaffinity(0)) // ranks))
    run.parent.mkdir(parents=True, exist_ok=True)
    with run.with_name(f"{run.name}.log").open("wb") as log:
        job = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": threads})
        try:
            yield Training(run, job)
        finally:
            job.terminate()
            job.wait()
