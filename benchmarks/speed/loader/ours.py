"""Our loader, as training uses it, and what it costs the training thread.

That thread shares the interpreter lock with the reader threads and a memory bus with their copies. It fetches a batch
whenever one is due, and what that costs it counts.
"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

import torch

from asd.data.config import DataConfig
from asd.data.loader import Loader, training_requests
from asd.data.manifest import load_manifest
from asd.data.plan import Stream, make_plan
from benchmarks.speed.loader.contender import BATCH, Batches

OPERATIONS = 50  # between two looks at the clock
DEFAULTS = DataConfig.model_validate({})


def planned(shards: Path, run_length: int = DEFAULTS.run_length, passes: int | None = None) -> Batches:
    """Waveforms of whole clips in the order of the plan, on the CPU; without end where passes is None."""
    manifest = load_manifest(shards)
    plan = make_plan([Stream("all", manifest.select("train"), BATCH)], seed=0, run_length=run_length)
    loader = Loader(manifest, torch.device("cpu"), DEFAULTS.threads, DEFAULTS.prefetch)
    requests = training_requests(manifest, plan, int(manifest.frames[0]), 0, 0, rank=0, world_size=1)
    try:
        for batch in loader.stream(islice(requests, None if passes is None else plan.steps_per_epoch * passes)):
            yield batch.waveform
    finally:
        loader.close()


def launch_rate(shards: Path, clips_per_s: int, seconds: float) -> float:
    """Small operations a second of one thread that takes so many clips/s; at 0 buffers are full, nothing is read."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batches = iter(planned(shards))
    try:
        for _ in range(2 * DEFAULTS.prefetch):  # all buffers are in use
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
        batches.close()  # type: ignore[attr-defined]
        torch.set_num_threads(threads)
