"""Write the whole set: many clips in parallel, into a folder that appears only when it is complete."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import soundfile
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asd.errors import UserError
from shards.synth.clip import MACHINE_IDS, Clip, render
from shards.synth.signals import SAMPLE_RATE

CLIPS_PER_JOB = 16


@dataclass(frozen=True)
class FactoryConfig:
    """What to make: clips per ID (test_clips normal ones and as many anomalous ones) of clip_s seconds."""

    seed: int
    clip_s: float
    train_clips: int
    test_clips: int
    snr_db: float


def all_clips(config: FactoryConfig) -> Iterator[Clip]:
    """Every clip of the set."""
    counts = {"train": config.train_clips, "normal": config.test_clips, "anomaly": config.test_clips}
    for machine_type, machine_ids in MACHINE_IDS.items():
        for machine_id in machine_ids:
            for kind, count in counts.items():
                for index in range(count):
                    yield Clip(config.seed, machine_type, machine_id, kind, index)


def write_factory(config: FactoryConfig, out: Path, workers: int) -> int:
    """Write the set to `out`, which must not exist or be empty, and return the number of clips."""
    refuse_unless_free(out)
    clips = list(all_clips(config))
    unfinished = out.parent / f".{out.name}.partial-{os.getpid()}"
    try:
        for folder in {Path(clip.path).parent for clip in clips}:
            (unfinished / folder).mkdir(parents=True)
        _write_parallel(config, clips, unfinished, workers)
        unfinished.replace(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return len(clips)


def refuse_unless_free(out: Path) -> None:
    """Raise `UserError` where `out` is a file or holds anything."""
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: name a new folder with --out, or remove it first")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a new folder with --out")


def write_clips(config: FactoryConfig, clips: list[Clip], root: Path) -> int:
    """Render and write some clips as PCM16 and return how many; what one worker does."""
    for clip in clips:
        waveform = render(clip, config.clip_s, config.snr_db)
        soundfile.write(root / clip.path, waveform, SAMPLE_RATE, subtype="PCM_16")
    return len(clips)


def _write_parallel(config: FactoryConfig, clips: list[Clip], root: Path, workers: int) -> None:
    jobs = [clips[begin : begin + CLIPS_PER_JOB] for begin in range(0, len(clips), CLIPS_PER_JOB)]
    with _progress() as progress, _pool(min(workers, len(jobs))) as pool:
        bar = progress.add_task("synthesising", total=len(clips))
        futures = [pool.submit(write_clips, config, job, root) for job in jobs]
        try:
            for future in as_completed(futures):
                progress.advance(bar, future.result())
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _pool(workers: int) -> ProcessPoolExecutor:
    """Workers that leave Ctrl-C to the parent, which cancels what is not begun."""
    ignore_interrupt = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=ignore_interrupt)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
