"""What the page on scale measures itself: gradients summed over two gloo ranks, and the plan of a large epoch."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from asd.data.plan import Stream, make_plan

RANKS = 2


def gloo_s(sizes: Sequence[int], rounds: int) -> list[list[float]]:
    """Seconds of one all-reduce of float32 gradients of each size (bytes), in every round; the slower rank's."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (Path(folder), list(sizes), rounds), nprocs=RANKS)
        found = [
            np.array(json.loads((Path(folder) / f"{rank}.json").read_text(encoding="utf-8"))) for rank in range(RANKS)
        ]
    return np.maximum(*found).tolist()


def _rank(rank: int, folder: Path, sizes: list[int], rounds: int) -> None:
    """One rank; the first all-reduce of each size is not counted."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=RANKS)
    seconds = []
    for size in sizes:
        gradients = torch.zeros(size // 4)
        seconds.append([_all_reduce_s(gradients) for _ in range(rounds + 1)][1:])
    (folder / f"{rank}.json").write_text(json.dumps(seconds), encoding="utf-8")
    dist.destroy_process_group()


def _all_reduce_s(gradients: torch.Tensor) -> float:
    dist.barrier()
    begin = time.perf_counter()
    dist.all_reduce(gradients)
    return time.perf_counter() - begin


def plan_s(clips: int, rounds: int, batch: int = 512, run_length: int = 8) -> list[float]:
    """Seconds in which every rank works out the order of one epoch."""
    plan = make_plan([Stream("all", np.arange(clips), batch)], 0, run_length)
    seconds = []
    for epoch in range(rounds):
        begin = time.perf_counter()
        plan.epoch(epoch)
        seconds.append(time.perf_counter() - begin)
    return seconds
