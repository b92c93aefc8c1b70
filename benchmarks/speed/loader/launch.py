"""How many small operations the training thread launches while the loader delivers.

The training thread shares the interpreter lock with the reader threads and a memory bus with their copies. It fetches a
batch whenever one is due, and what that costs it counts.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from benchmarks.speed.loader.contender import BATCH
from benchmarks.speed.loader.ours import Training

OPERATIONS = 50  # between two looks at the clock


def launch_rates(shards: Path, clips_per_s: int, seconds: float) -> tuple[float, float]:
    """(operations/s of one thread, clips/s given meanwhile); at 0 clips/s buffers are full and nothing is read."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    training = Training(shards)
    batches = training.batches()
    try:
        for _ in range(2 * training.loader.prefetch):  # all buffers are in use
            next(batches)
        time.sleep(0.1)  # … and filled
        values = torch.zeros(64)
        launched = delivered = 0
        begin = now = time.perf_counter()
        while now - begin < seconds:
            for _ in range(OPERATIONS):
                values.add_(1.0)
            launched += OPERATIONS
            while delivered < (now - begin) * clips_per_s - BATCH:
                next(batches)
                delivered += BATCH
            now = time.perf_counter()
        return launched / (now - begin), delivered / (now - begin)
    finally:
        training.close()
        torch.set_num_threads(threads)
