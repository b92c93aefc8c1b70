"""Where the trainings of a sweep run: processes of this machine, or jobs of Slurm. Both are started by submitit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from asd.errors import UserError
from asd.sweep.jobs import Job
from asd.sweep.output import environment
from asd.sweep.training import Training

os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")  # read at its import: its lines are shown as all others
import submitit
from submitit.core.utils import FailedJobError
from submitit.helpers import clean_env, environment_variables

if TYPE_CHECKING:
    Handle = submitit.Job[tuple[int, float]]  # exit code, seconds

ENDLESS_MIN = 10 * 365 * 24 * 60
SAVE_S = 120  # from Slurm's signal to the end of a job's time


class Engine(Protocol):
    slots: int  # trainings at once
    queues: bool  # takes more of them, and has them wait
    poll_s: float  # how often to look at them

    def submit(self, jobs: Sequence[Job]) -> list[Handle]: ...

    def going(self, handles: Sequence[Handle]) -> list[Handle]:
        """Those that have not ended."""

    def stop(self, handles: Sequence[Handle]) -> None:
        """Have trainings save and end, and what waits not begin. One that is just being started may not hear it: ask
        again until it has ended."""


# ---- this machine --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slot:
    """What one of several runs at once has for itself."""

    devices: str | None  # CUDA_VISIBLE_DEVICES; None: all that is visible
    cores: frozenset[int]


class Local:
    """Processes of this machine, each with GPUs and cores of its own."""

    queues, poll_s = False, 0.2

    def __init__(self, ranks: int, slots: int) -> None:
        """UserError where there are not enough GPUs."""
        self.slots = slots
        self._ranks, self._began = ranks, _now()
        self._shares = [Slot(devices_of(slot, ranks, slots), cores_of(slot, slots)) for slot in range(slots)]
        self._handles: list[Handle | None] = [None] * slots

    def submit(self, jobs: Sequence[Job]) -> list[Handle]:
        """At most as many as there are free slots."""
        free = (slot for slot, handle in enumerate(self._handles) if handle is None or handle.done())
        return [self._start(job, next(free)) for job in jobs]

    def going(self, handles: Sequence[Handle]) -> list[Handle]:
        return [handle for handle in handles if not handle.done()]

    def stop(self, handles: Sequence[Handle]) -> None:
        for handle in self.going(handles):
            os.kill(int(handle.job_id), signal.SIGTERM)  # to submitit's controller, which hands it on

    def _start(self, job: Job, slot: int) -> Handle:
        share = self._shares[slot]
        variables = {"CUDA_VISIBLE_DEVICES": share.devices or os.environ.get("CUDA_VISIBLE_DEVICES")}
        executor = submitit.LocalExecutor(job.folder.parents[1] / "jobs" / self._began / job.folder.name)
        executor.update_parameters(timeout_min=ENDLESS_MIN, stderr_to_stdout=True)
        with _deaf_to_ctrl_c():
            handle = executor.submit(_training(job, self._ranks, variables, share.cores, os.getpid()))
        self._handles[slot] = handle
        return handle


def devices_of(slot: int, ranks: int, slots: int) -> str | None:
    """CUDA_VISIBLE_DEVICES of a slot; None where one slot takes all that is visible, or there is no GPU."""
    count = torch.cuda.device_count()
    if slots == 1 or count == 0:
        return None
    if count < slots * ranks:
        raise UserError(f"{slots} slots of {ranks} ranks need {slots * ranks} GPUs, {count} are visible: lower --slots")
    named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    return ",".join(named.split(",")[slot * ranks : (slot + 1) * ranks])


def cores_of(slot: int, slots: int) -> frozenset[int]:
    """A slot's share of the cores: threads of one run that wait for a core of another's slow both down many times."""
    cores = sorted(os.sched_getaffinity(0))
    return frozenset(cores[slot::slots] or [cores[slot % len(cores)]])


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What is started meanwhile does not hear the terminal's Ctrl-C: the sweep ends it, and lets it save."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


# ---- Slurm ---------------------------------------------------------------------------------------------------------


class Slurm:
    """Jobs of a cluster, on one node each; several that are submitted together are an array."""

    queues, poll_s = True, 2.0

    def __init__(self, ranks: int, slots: int, options: Sequence[str]) -> None:
        """options: those of sbatch, `partition=gpu` or `exclusive`. UserError where they cannot be."""
        if submitit.SlurmExecutor.affinity() < 0:
            raise UserError("--slurm: no srun on this machine: start the sweep where you would call sbatch")
        self.slots = slots
        self._ranks, self._began = ranks, _now()
        self._parameters = parameters_of(options, slots)

    def submit(self, jobs: Sequence[Job]) -> list[Handle]:
        executor = submitit.SlurmExecutor(jobs[0].folder.parents[1] / "jobs" / self._began, max_num_timeout=1_000_000)
        executor.update_parameters(**self._parameters)
        where = {name: os.environ[name] for name in ("SLURM_CONF", "SUBMITIT_LOG_LEVEL") if name in os.environ}
        try:
            with clean_env(), environment_variables(**where):  # not of the job that the sweep itself may be
                return executor.submit_array([_training(job, self._ranks) for job in jobs])
        except FailedJobError as error:
            raise UserError(f"--slurm: {error}") from None

    def going(self, handles: Sequence[Handle]) -> list[Handle]:
        """By squeue: sacct, which submitit asks, may call a job of an array cancelled that is being started."""
        squeue = ["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]
        answer = subprocess.run(
            squeue, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", check=False
        )
        known = answer.returncode == 0  # else Slurm does not answer just now
        return [
            handle
            for handle in handles
            if not handle.paths.result_pickle.exists() and not (known and handle.job_id not in answer.stdout.split())
        ]

    def stop(self, handles: Sequence[Handle]) -> None:
        """Not by scancel alone: that would kill those after Slurm's KillWait seconds, saved or not."""
        if jobs := [handle.job_id for handle in handles]:
            for option in ("--state=PENDING", "--signal=TERM"):
                subprocess.run(["scancel", "--quiet", option, *jobs], check=False)


def parameters_of(options: Sequence[str], slots: int) -> dict[str, Any]:
    """Options of sbatch as parameters of submitit's executor."""
    given: dict[str, str | bool] = {}
    for option in options:
        name, equals, value = option.partition("=")
        given[name.lstrip("-").replace("_", "-")] = value if equals else True
    if odd := [name for name in given if not name.replace("-", "").isalpha()]:
        raise UserError(f"--slurm takes options of sbatch, {odd[0]} is none: settings of the config stand before it")
    if any(name in given for name in ("nodes", "ntasks", "ntasks-per-node")):
        raise UserError("--slurm: a run of a sweep has one node; docker/slurm.sbatch trains one on several")
    if own := [name for name in ("array", "output", "error", "signal", "open-mode") if name in given]:
        raise UserError(f"--slurm: the sweep sets {own[0]} itself: leave it out")
    minutes = str(given.pop("time", ""))
    if not minutes.isdecimal() or int(minutes) * 60 <= SAVE_S:
        raise UserError(
            "--slurm needs time=MINUTES, 3 or more: a run that needs longer saves, and goes on in the queue"
        )
    cores = given.get("cpus-per-task")
    return {
        "job_name": "asd-sweep",
        "time": int(minutes),
        "signal_delay_s": SAVE_S,
        "stderr_to_stdout": True,
        "array_parallelism": slots,
        "srun_args": [f"--cpus-per-task={cores}"] if cores else [],  # which srun does not take from sbatch
        "additional_parameters": {"requeue": True, **given},
    }


# ---- both ----------------------------------------------------------------------------------------------------------


def _now() -> str:
    """A name for the logs of a sweep that starts now."""
    return f"{time.strftime('%Y%m%d_%H%M%S')}_{os.getpid()}"


def _training(
    job: Job,
    ranks: int,
    variables: Mapping[str, str | None] | None = None,
    cores: frozenset[int] = frozenset(),
    sweep: int = 0,
) -> Training:
    own = {"OMP_NUM_THREADS": "1", **environment(job.label), **(variables or {})}
    return Training(job.command(ranks), own, cores, sweep)
