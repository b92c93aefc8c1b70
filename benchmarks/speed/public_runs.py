"""One run of either side: the public code through its driver, ours through the real `train_ddp.py`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asd.errors import UserError
from asd.loggers import read_metrics

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "tastgram_noisy_arcmix_paper.yaml"
DRIVER = Path(__file__).with_name("public_driver.py")
# The run is stopped by SIGTERM: nothing is evaluated, and nothing saved before the end.
ENDLESS = ("train.epochs=100000", "evaluate.every_epochs=100000", "checkpoint.every_steps=100000000")
POLL_S = 0.02


@dataclass(frozen=True)
class Run:
    """What one process did."""

    start_s: float  # from its start to the first step's batch being asked for
    clips_per_s: float  # after the warm-up
    peak_gib: float  # resident, of the whole process
    parameters: int
    details: dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What both sides share."""

    batch: int
    steps: int  # that count
    threads: int
    device: str
    log_every: int  # steps: reading the loss of each would make a GPU wait

    @classmethod
    def here(cls, batch: int, steps: int) -> Setting:
        """For this machine: its card, or all its cores."""
        on_card = torch.cuda.is_available()
        cores = len(os.sched_getaffinity(0))
        return cls(batch, steps, cores, "cuda" if on_card else "cpu", 10 if on_card else 1)


def run_public(checkout: Path, recordings: Path, work: Path, setting: Setting, warm_up: int) -> Run:
    """The public code's own loop, the first steps left out."""
    words = {
        "--checkout": checkout,
        "--recordings": recordings,
        "--work": work,
        "--batch": setting.batch,
        "--steps": warm_up + setting.steps,
        "--threads": setting.threads,
        "--device": setting.device,
    }
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(DRIVER), *(str(word) for pair in words.items() for word in pair)]
    begin, peak_gib = _run(command, work / "log.txt", lambda: False)
    found = json.loads((work / "found.json").read_text(encoding="utf-8"))
    asked = found["asked"]
    return Run(
        start_s=asked[0] - begin,
        clips_per_s=sum(found["step_clips"][warm_up:]) / (asked[-1] - asked[warm_up]),
        peak_gib=peak_gib,
        parameters=found["parameters"] - found["unused_parameters"],
        details=found,
    )


def run_ours(shards: Path, work: Path, setting: Setting, warm_up: int, words: Sequence[str]) -> Run:
    """Our command with the published network, by its own metrics.jsonl; `words` are more of its overrides."""
    folder, log = work / "run", work / "log.txt"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    own = [f"data.shards={shards}", f"run.dir={folder}", f"train.log_every={setting.log_every}"]
    own += [f"train.global_batch={setting.batch}", *ENDLESS, *words]
    command = [sys.executable, str(ROOT / "train_ddp.py"), "--config", str(CONFIG), *own]
    steps = warm_up + setting.steps
    first: list[float] = []

    def done() -> bool:
        records = step_records(folder / "metrics.jsonl")
        if records and not first:
            first.append(time.monotonic() - records[0]["step"] * records[0]["step_s"])
        return bool(records) and records[-1]["step"] >= steps

    begin, peak_gib = _run(command, log, done)
    records = step_records(folder / "metrics.jsonl")
    return Run(
        start_s=first[0] - begin,
        clips_per_s=clips_per_s(records, setting.batch, warm_up),
        peak_gib=peak_gib,
        parameters=parameters_in(log.read_text(errors="replace", encoding="utf-8")),
        details={"records": records},
    )


def clips_per_s(records: Sequence[dict[str, Any]], batch: int, warm_up: int) -> float:
    """Of the steps behind the warm-up: clips over the seconds that metrics.jsonl has for them."""
    seconds, steps, before = 0.0, 0, 0
    for record in records:
        if before >= warm_up:
            steps += record["step"] - before
            seconds += record["step_s"] * (record["step"] - before)
        before = record["step"]
    return batch * steps / seconds


def step_records(path: Path) -> list[dict[str, Any]]:
    return [record for record in read_metrics(path) if "step_s" in record] if path.is_file() else []


def parameters_in(log: str) -> int:
    line = next(line for line in log.splitlines() if line.endswith(" parameters"))
    return int(line.split()[-2].replace(",", ""))


def _run(command: Sequence[str], log: Path, done: Callable[[], bool]) -> tuple[float, float]:
    """Run a command to its end, or until `done`, when SIGTERM asks it to end: (begin on the monotonic clock, GiB)."""
    with log.open("wb") as out:
        begin = time.monotonic()
        job = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT)
        try:
            peak_gib = _wait(job, done)
        finally:
            if job.returncode is None:
                job.kill()
                job.wait()
    if job.returncode:
        raise UserError(f"{command[1]} ended with {job.returncode}, see {log}")
    return begin, peak_gib


def _wait(job: subprocess.Popen[bytes], done: Callable[[], bool]) -> float:
    """Most resident memory of the process, GiB, once it has ended."""
    asked = False
    while True:
        pid, status, usage = os.wait4(job.pid, os.WNOHANG)
        if pid:
            job.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_maxrss / 2**20
        if not asked and done():
            job.send_signal(signal.SIGTERM)
            asked = True
        time.sleep(POLL_S)
