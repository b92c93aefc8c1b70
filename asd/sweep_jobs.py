"""The runs of a sweep, and running several of them at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import torch

from asd.config import RunConfig
from asd.errors import UserError
from asd.evaluations import best_step
from asd.files import write_whole
from asd.run_folder import RunFolder
from asd.sweep_output import environment, labelled

ENTRY = Path(__file__).resolve().parents[1] / "train_ddp.py"
DONE_FILE = "DONE"


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    name: str  # of the config
    seed: int
    path: Path
    config: RunConfig
    words: tuple[str, ...]  # overrides that make the config
    part: str | None = None  # machine type, where each has a run of its own

    @property
    def label(self) -> str:
        """Names the run beside the others of its sweep."""
        return " ".join([self.name, f"seed {self.seed}", *([self.part] if self.part else [])])

    @property
    def done(self) -> bool:
        return self._mark.is_file()

    @property
    def seconds(self) -> float | None:
        """How long the run took, all in all; None before it is done."""
        return json.loads(self._mark.read_text(encoding="utf-8") or "{}").get("seconds") if self.done else None

    def mark_done(self, seconds: float) -> None:
        write_whole(self._mark, json.dumps({"seconds": round(seconds, 1)}))

    @property
    def _mark(self) -> Path:
        return Path(self.config.run.dir) / DONE_FILE


@dataclass(frozen=True)
class Slot:
    """What one of several runs at once has for itself."""

    devices: str | None  # CUDA_VISIBLE_DEVICES; None: all that is visible
    cores: frozenset[int]


def run_jobs(jobs: Sequence[Job], ranks: int, slots: int) -> None:
    """Run jobs, `slots` of them at once, each on GPUs and cores of its own; the first failure ends the sweep."""
    free: SimpleQueue[Slot] = SimpleQueue()
    for slot in range(slots):
        free.put(Slot(_devices_of(slot, ranks, slots), _cores_of(slot, slots)))
    with ThreadPoolExecutor(slots) as pool:
        for job, code in zip(jobs, pool.map(lambda job: _run(job, ranks, free), jobs), strict=True):
            if code:
                pool.shutdown(cancel_futures=True)
                raise UserError(f"{job.config.run.dir} failed with exit code {code}: see what it printed above")


def _devices_of(slot: int, ranks: int, slots: int) -> str | None:
    """CUDA_VISIBLE_DEVICES of a slot; None where one slot takes all that is visible, or there is no GPU."""
    count = torch.cuda.device_count()
    if slots == 1 or count == 0:
        return None
    if count < slots * ranks:
        raise UserError(f"{slots} slots of {ranks} ranks need {slots * ranks} GPUs, {count} are visible: lower --slots")
    named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    return ",".join(named.split(",")[slot * ranks : (slot + 1) * ranks])


def _cores_of(slot: int, slots: int) -> frozenset[int]:
    """A slot's share of the cores: threads of one run that wait for a core of another's slow both down many times."""
    cores = sorted(os.sched_getaffinity(0))
    return frozenset(cores[slot::slots] or [cores[slot % len(cores)]])


def _run(job: Job, ranks: int, free: SimpleQueue[Slot]) -> int:
    slot = free.get()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command = [*(launcher if ranks > 1 else [sys.executable]), str(ENTRY), "--config", str(job.path), *job.words]
    env = dict(os.environ) | ({} if slot.devices is None else {"CUDA_VISIBLE_DEVICES": slot.devices})
    os.sched_setaffinity(0, slot.cores)  # of this thread alone; what it starts inherits them
    print(f"=== {job.config.run.dir}", flush=True)
    begin = time.monotonic()
    env |= {"OMP_NUM_THREADS": "1", **environment(job.label)}
    try:
        with labelled(job.label) as output:
            code = subprocess.run(command, env=env, stdout=output, stderr=output, check=False).returncode
    finally:
        free.put(slot)
    if code == 0 and best_step(RunFolder(Path(job.config.run.dir)), job.config.evaluate.select) is not None:
        job.mark_done(time.monotonic() - begin)
    return code
