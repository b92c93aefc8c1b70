"""Our loader, as training uses it, and what it costs the training thread.

That thread shares the interpreter lock with the reader threads and a memory bus with their copies. It fetches a batch
whenever one is due, and what that costs it counts.
"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

import torch

from asd.data.batch import Batch
from asd.data.loader import DataConfig, Loader, training_requests
from asd.data.manifest import load_manifest
from asd.data.plan import Stream, make_plan
from benchmarks.speed.loader.contender import BATCH, Batches

OPERATIONS = 50  # between two looks at the clock
DEFAULTS = DataConfig.model_validate({})


class Training:
    """Batches of whole clips in the order of the plan, on the CPU, with the default settings."""

    def __init__(self, shards: Path, run_length: int = DEFAULTS.run_length) -> None:
        manifest = load_manifest(shards)
        self.plan = make_plan([Stream("all", manifest.select("train"), BATCH)], seed=0, run_length=run_length)
        self.loader = Loader(manifest, torch.device("cpu"), DEFAULTS.threads, DEFAULTS.prefetch)
        requests = training_requests(manifest, self.plan, int(manifest.frames[0]), 0, 0, rank=0, world_size=1)
        self._requests = requests

    def batches(self, passes: int | None = None) -> Batches:
        """Waveforms; without end where passes is None."""
        steps = None if passes is None else self.plan.steps_per_epoch * passes
        batch: Batch
        for batch in self.loader.stream(islice(self._requests, steps)):
            yield batch.waveform

    def close(self) -> None:
        self.loader.close()


def planned(shards: Path, run_length: int, passes: int) -> Batches:
    """Whole passes over a set in runs of that many clips."""
    training = Training(shards, run_length)
    try:
        yield from training.batches(passes)
    finally:
        training.close()


def launch_rate(shards: Path, clips_per_s: int, seconds: float) -> float:
    """Small operations a second of one thread that takes so many clips/s; at 0 buffers are full, nothing is read."""
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
        return launched / (now - begin)
    finally:
        training.close()
        torch.set_num_threads(threads)
