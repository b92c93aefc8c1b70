"""A process that has nothing to do but to take clips from our loader at a pace: what its copies cost others.

`feed` runs until it is killed and says a word when it begins.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.speed.loader.contender import BATCH
from benchmarks.speed.loader.ours import Training

PAUSE_S = 0.001


@contextmanager
def beside(shards: Path, clips_per_s: int) -> Iterator[None]:
    """Another process takes clips meanwhile."""
    words = f"from benchmarks.speed.loader.feeder import feed; feed({str(shards)!r}, {clips_per_s})"
    command = [sys.executable, "-c", words]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as feeder:
        assert feeder.stdout is not None
        feeder.stdout.readline()
        try:
            yield
        finally:
            feeder.kill()


def feed(shards: str, clips_per_s: int) -> None:
    batches = Training(Path(shards)).batches()
    next(batches)
    print("feeding", flush=True)
    begin, taken = time.perf_counter(), 0
    for _ in batches:
        taken += BATCH
        while taken > (time.perf_counter() - begin) * clips_per_s:
            time.sleep(PAUSE_S)
