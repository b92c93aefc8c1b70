"""Write the whole set: many clips in parallel, into a folder that appears only when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import soundfile

from asd.errors import UserError
from shards.progress import clip_bar
from shards.staging import staged
from shards.synth.clip import MACHINE_IDS, Clip, render
from shards.synth.signals import SAMPLE_RATE
from shards.workers import Tick, run_jobs

CLIPS_PER_JOB = 16


@dataclass(frozen=True)
class FactoryConfig:
    """What to make: clips per ID (test_clips normal ones and as many anomalous ones) of clip_s seconds."""

    seed: int
    clip_s: float
    train_clips: int
    test_clips: int
    snr_db: float


@dataclass(frozen=True)
class ClipsJob:
    """Some clips to write below a folder."""

    config: FactoryConfig
    clips: list[Clip]
    root: Path


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
    with staged(out.resolve(), partial(refuse_unless_free, out)) as root:
        for folder in {Path(clip.path).parent for clip in clips}:
            (root / folder).mkdir(parents=True)
        parts = [clips[begin : begin + CLIPS_PER_JOB] for begin in range(0, len(clips), CLIPS_PER_JOB)]
        with clip_bar("synthesising", len(clips)) as bar:
            run_jobs(write_clips, [ClipsJob(config, part, root) for part in parts], workers, bar)
    return len(clips)


def refuse_unless_free(out: Path) -> None:
    """Raise `UserError` where `out` is a file or holds anything."""
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: name a new folder with --out, or remove it first")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a new folder with --out")


def write_clips(job: ClipsJob, tick: Tick) -> None:
    """Render and write some clips as PCM16; what one worker does."""
    for clip in job.clips:
        waveform = render(clip, job.config.clip_s, job.config.snr_db)
        soundfile.write(job.root / clip.path, waveform, SAMPLE_RATE, subtype="PCM_16")
        tick()
