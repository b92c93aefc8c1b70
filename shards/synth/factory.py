"""Write the whole set: many clips in parallel, into a folder that appears only when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from asd.errors import UserError
from shards.progress import clip_bar
from shards.staging import staged
from shards.synth.attribute_files import write_attribute_files
from shards.synth.clip import Clip, render
from shards.synth.domains import DOMAINS
from shards.synth.layouts import LAYOUTS, Layout
from shards.synth.signals import SAMPLE_RATE
from shards.wav_file import write_wav
from shards.workers import Tick, run_jobs

CLIPS_PER_JOB = 16


@dataclass(frozen=True)
class FactoryConfig:
    """What to make: clips per ID or section of clip_s seconds.

    target_clips of the train_clips are of the target domain; of test clips there are test_clips normal ones and as
    many anomalous ones in every domain. num_sections and target_clips are idle where the layout knows no domains.
    contaminate: share of all training clips in whose place there are anomalies that nobody noticed. known_faults:
    so many anomalies more of each ID or section (with domains: of the source) are in training, and labelled.
    """

    layout_name: str
    seed: int
    clip_s: float
    train_clips: int
    target_clips: int
    test_clips: int
    num_sections: int
    snr_db: float
    contaminate: float = 0.0
    known_faults: int = 0

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.layout_name]

    @property
    def machine_ids(self) -> dict[str, tuple[int, ...]]:
        return self.layout.machine_ids(self.num_sections)


@dataclass(frozen=True)
class ClipsJob:
    """Some clips to write below a folder."""

    config: FactoryConfig
    clips: list[Clip]
    root: Path


def all_clips(config: FactoryConfig) -> Iterator[Clip]:
    """Every clip of the set. Training's anomalies have indices behind those of all other clips of their part: they are
    none of the test's, which is the same with and without them, and what is contaminated by more holds what is by less.
    """
    parts, trained = list(_parts(config)), 0
    for machine_type, machine_ids in config.machine_ids.items():
        for machine_id in machine_ids:
            for domain, role, count in parts:
                first = count + config.test_clips  # index of an anomaly
                for index in range(count):
                    clip = Clip(config.seed, machine_type, machine_id, role, index, domain)
                    if role == "train":
                        trained += 1
                        if _is_contaminated(trained, config.contaminate):
                            clip = replace(clip, role="anomaly", index=first + index, trained="unnoticed")
                    yield clip
                if role == "train" and domain in ("", DOMAINS[0]):
                    for index in range(2 * first, 2 * first + config.known_faults):
                        yield Clip(config.seed, machine_type, machine_id, "anomaly", index, domain, "known")


def _is_contaminated(number: int, share: float) -> bool:
    """Of the training clips of a factory, counted from 1: so large a share, spread evenly."""
    return int(number * share + 1e-9) > int((number - 1) * share + 1e-9)


def _parts(config: FactoryConfig) -> Iterator[tuple[str, str, int]]:
    """Domain, role and number of clips of every part of an ID or section."""
    train_clips = {"": config.train_clips}
    if config.layout.target_share is not None:
        source_clips = config.train_clips - config.target_clips
        train_clips = dict(zip(DOMAINS, (source_clips, config.target_clips), strict=True))
    for domain, count in train_clips.items():
        yield domain, "train", count
        yield domain, "normal", config.test_clips
        yield domain, "anomaly", config.test_clips


def write_factory(config: FactoryConfig, out: Path, workers: int) -> int:
    """Write the set to `out`, which must not exist or be empty, and return the number of clips."""
    check_unless_free(out)
    clips = list(all_clips(config))
    with staged(out.resolve(), partial(check_unless_free, out)) as root:
        for folder in {Path(config.layout.path(clip)).parent for clip in clips}:
            (root / folder).mkdir(parents=True)
        parts = [clips[begin : begin + CLIPS_PER_JOB] for begin in range(0, len(clips), CLIPS_PER_JOB)]
        with clip_bar("synthesising", len(clips)) as bar:
            run_jobs(write_clips, [ClipsJob(config, part, root) for part in parts], workers, bar)
        if config.layout.has_attributes:
            write_attribute_files(clips, config.layout.path, root)
    return len(clips)


def check_unless_free(out: Path) -> None:
    """Raise `UserError` where `out` is a file or holds anything."""
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: name a new folder with --out, or remove it first")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a new folder with --out")


def write_clips(job: ClipsJob, tick: Tick) -> None:
    """Render and write some clips as PCM16; what one worker does."""
    for clip in job.clips:
        layout = job.config.layout
        waveform = render(clip, job.config.clip_s, job.config.snr_db, layout.microphones)
        write_wav(job.root / layout.path(clip), waveform, SAMPLE_RATE, "PCM_16")
        tick()
