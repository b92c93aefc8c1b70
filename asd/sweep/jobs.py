"""The runs of a sweep, and running several of them at once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Literal

import torch

from asd.config.load import dump_yaml, load_config
from asd.config.run import RunConfig
from asd.errors import UserError
from asd.evaluate.history import Selection, best_step, is_scored
from asd.files.atomic import write_whole
from asd.monitor.status import FILE as STATUS_FILE
from asd.monitor.status import read_status
from asd.process.logs import form
from asd.process.stop import AskedToStop, StopSignal
from asd.run_folder.paths import RunFolder
from asd.sweep.output import environment, labelled
from asd.text.shell import write_word

log = logging.getLogger(__name__)

ENTRY = Path(__file__).resolve().parents[2] / "train_ddp.py"
DONE_FILE = "DONE"
POLL_S = 2.0  # how soon a run that is not wanted any more is asked to stop

Former = Callable[[str, int, str | None], str]  # (config, seed, machine type) → the run to start from
# surplus: asked to stop since it was not wanted any more; stopped: with the sweep, or not begun
Outcome = Literal["done", "failed", "surplus", "stopped"]


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


def job_of(
    path: Path, seed: int, part: str | None, overrides: Sequence[str], out: Path, former: Former | None = None
) -> Job:
    """The run of a config with words over it. Its folder is named by a digest of all settings, so that a changed config
    never goes on from another one's checkpoints."""
    words = [*overrides, f"train.seed={seed}", *([write_word("data.machine_types", [part])] if part else [])]
    words += [] if former is None else [f"init_from={former(path.stem, seed, part)}"]
    digest = hashlib.sha256(dump_yaml(load_config(path, words)).encode()).hexdigest()
    words.append(f"run.dir={out / path.stem}/seed_{seed}_{part or 'all'}_{digest[:8]}")
    config = load_config(path, words)
    if config.evaluate.by_watcher:
        raise UserError(f"{path}: a sweep waits for the scores of its runs: leave evaluate.by_watcher=true out")
    return Job(path.stem, seed, path, config, tuple(words), part)


@dataclass(frozen=True)
class Slot:
    """What one of several runs at once has for itself."""

    devices: str | None  # CUDA_VISIBLE_DEVICES; None: all that is visible
    cores: frozenset[int]


Work = Callable[[Slot, "Trainings"], object]


def run_jobs(jobs: Sequence[Job], ranks: int, slots: int, keep_going: bool = False) -> None:
    """Train all jobs, as `side_by_side` does works."""
    side_by_side([partial(train, job, ranks) for job in jobs], ranks, slots, keep_going)


def side_by_side(works: Sequence[Work], ranks: int, slots: int, keep_going: bool = False) -> None:
    """Do works, each of which trains one run, `slots` of them at once, each on GPUs and cores of its own.

    The first failure (UserError) leaves what has not started undone, unless keep_going. SIGTERM or SIGINT has those
    under way save, and ends this process with 143 or 130 and one line.
    """
    free: SimpleQueue[Slot] = SimpleQueue()
    for slot in range(slots):
        free.put(Slot(_devices_of(slot, ranks, slots), _cores_of(slot, slots)))
    trainings = Trainings(keep_going)
    with StopSignal(at_once=True) as stop:
        try:
            with ThreadPoolExecutor(slots) as pool, trainings:
                for done in [pool.submit(_in_a_slot, work, free, trainings) for work in works]:
                    done.result()
        except AskedToStop as asked:
            how = "; ".join(trainings.failed) or "running trainings have saved"
            log.warning(f"sweep {asked}: {how}; run the same command to continue")
            raise SystemExit(stop.exit_code) from None
    if trainings.failed:
        raise UserError(f"{'; '.join(trainings.failed)}: see above; run the same command to continue")


class Trainings:
    """The processes under way; each heads a process group, so that the terminal's Ctrl-C asks it to stop but once."""

    def __init__(self, keep_going: bool) -> None:
        self.failed: list[str] = []
        self.closed = self.stopping = False  # no more are started; all are asked to end
        self._keep_going, self._lock = keep_going, threading.Lock()
        self._under_way: set[subprocess.Popen[bytes]] = set()

    def run(
        self, command: Sequence[str], env: Mapping[str, str], output: int, is_surplus: Callable[[], bool] | None = None
    ) -> tuple[int | None, bool]:
        """The exit code of a command, once it has ended; None where it was not started any more. And whether it was
        asked to stop because it is surplus."""
        with self._lock:
            if self.stopping:
                return None, False
            child = subprocess.Popen(command, env=env, stdout=output, stderr=output, process_group=0)
            self._under_way.add(child)
        surplus = False
        while True:
            try:
                code = child.wait(POLL_S if is_surplus is not None and not surplus else None)
                break
            except subprocess.TimeoutExpired:
                if is_surplus is not None and is_surplus():
                    surplus = True
                    _ask_to_stop(child)
        with self._lock:
            self._under_way.remove(child)
        return code, surplus

    def fail(self, problem: str) -> None:
        """A training failed."""
        self.failed.append(problem)
        self.closed |= not self._keep_going
        if not self.stopping:
            log.warning(problem)

    def __enter__(self) -> Trainings:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """Where the sweep ends before them, ask all to save and end, but once, and wait for that."""
        if error is None:
            return
        with self._lock:
            self.closed = self.stopping = True
            left = list(self._under_way)
        for child in left:
            _ask_to_stop(child)
        for child in left:
            child.wait()


def _ask_to_stop(child: subprocess.Popen[bytes]) -> None:
    for pid in _ranks_of(child.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _ranks_of(pid: int) -> list[int]:
    """The ranks of a torchrun, which calls itself failed where it gets the signal; a training without it."""
    with suppress(OSError):
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        children = [int(child) for task in tasks for child in task.read_text(encoding="utf-8").split()]
        if b"torch.distributed.run" in Path(f"/proc/{pid}/cmdline").read_bytes() and children:
            return children
    return [pid]


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


def _in_a_slot(work: Work, free: SimpleQueue[Slot], trainings: Trainings) -> None:
    """Do a work in a free slot, unless the sweep has come to its end."""
    slot = free.get()
    try:
        if not trainings.closed:
            work(slot, trainings)
    finally:
        free.put(slot)


def train(
    job: Job, ranks: int, slot: Slot, trainings: Trainings, is_surplus: Callable[[], bool] | None = None
) -> Outcome:
    """Train a job in a slot; is_surplus: asked now and then, whether it need not go on."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command = [*(launcher if ranks > 1 else [sys.executable]), str(ENTRY), "--config", str(job.path), *job.words]
    command += ["--log-format", "json"] if form() == "json" else []
    env = dict(os.environ) | ({} if slot.devices is None else {"CUDA_VISIBLE_DEVICES": slot.devices})
    env |= {"OMP_NUM_THREADS": "1", **environment(job.label)}
    os.sched_setaffinity(0, slot.cores)  # of this thread alone; what it starts inherits them
    folder = Path(job.config.run.dir)
    log.info(f"training {folder}")
    begin = time.monotonic()
    with labelled(job.label) as output:
        code, surplus = trainings.run(command, env, output, is_surplus)
    if code is None:
        return "stopped"
    if surplus and not trainings.stopping:
        return "surplus"
    if code:
        trainings.fail(f"{folder} failed with exit code {code}")
    elif (state := read_status(folder / STATUS_FILE).state) == "stopped" and trainings.stopping:
        return "stopped"
    elif state != "finished":
        trainings.fail(f"{folder} was {state} before its end")
    elif not _has_scores(RunFolder(folder), job.config.evaluate.select):
        trainings.fail(f"{folder} has no scores of its best checkpoint")
    else:
        job.mark_done(time.monotonic() - begin)
        return "done"
    return "failed"


def _has_scores(folder: RunFolder, rule: Selection) -> bool:
    """Whether the table can be made; what its training could not score, it scores when it is started again."""
    best = best_step(folder, rule)
    return best is not None and is_scored(folder, best)
