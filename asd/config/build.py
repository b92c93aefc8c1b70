"""Builds data and network of a config, for training and evaluation alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asd.backbones.base import Borrowed
from asd.config.checks import check_frames, check_reference, check_sample_rate
from asd.config.identity import identity
from asd.config.run import RunConfig
from asd.data.config import DataConfig
from asd.data.manifest import SOUNDLESS, Manifest, load_manifest
from asd.data.plan import Plan, Stream, make_plan, windows_of
from asd.data.proxy import with_proxy_classes
from asd.data.reader import Reader
from asd.data.splits import Splits, make_splits
from asd.data.streams import make_streams
from asd.data.subset import restrict
from asd.errors import UserError
from asd.evaluate.embedding_cache import EmbeddingCache
from asd.files.paths import user_path
from asd.optim.groups import parts_of
from asd.run_folder.provenance import provenance
from asd.tasks import build
from asd.tasks.base import Task
from asd.tasks.system import System
from asd.text.shell import command
from asd.train.cadence import Every


@dataclass(frozen=True)
class Data:
    """What is trained on: the set, which clips do what, and in which order."""

    manifest: Manifest
    splits: Splits
    plan: Plan
    clusters: np.ndarray | None = None  # of each clip, (clips,), where data.pseudo_labels divides machines
    untrained: str | None = None  # why nothing is trained on this set, where the task may do without


@dataclass(frozen=True)
class Setup:
    """What a config comes to: its clips and its network, as training, evaluation and benchmarks take them."""

    config: RunConfig
    data: Data
    task: Task  # initialised from train.seed, on the CPU
    identity: dict[str, Any]  # what a run may not change when it goes on, beside its settings

    @property
    def total_steps(self) -> int:
        """Of the whole run; 0 where nothing is trained."""
        return 0 if self.data.untrained else self.config.train.total_steps(self.data.plan.steps_per_epoch)

    @property
    def evaluations(self) -> Every:
        """Which steps are evaluated."""
        return self.config.evaluate.every(self.data.plan.steps_per_epoch, self.total_steps)

    @property
    def classes(self) -> list[str]:
        """Names of what the network tells apart, such as fan/00, in order."""
        return self.data.manifest.taught


def set_up(config: RunConfig, clusters: np.ndarray | None = None) -> Setup:
    """Open the set of a config and build its network; UserError where one of them cannot be, or they do not fit.

    clusters: (clips,) of each clip, as data.pseudo_labels has them found (asd.commands.pseudo_labels).
    """
    data = open_data(config, clusters)
    config, borrowed = with_weights(config, data.manifest)
    task = build_task(config, data.manifest, borrowed)
    if config.optim is not None:
        parts_of(config.optim, task)  # may be refused
    return Setup(config, data, task, identity(data.manifest, task, clusters))


def with_weights(config: RunConfig, manifest: Manifest) -> tuple[RunConfig, Borrowed | None]:
    """The config with what the file of a pre-trained encoder says of itself, and the file's tensors.

    A run that goes on must have the same sha256, as it must have all other settings.
    """
    check_sample_rate(config, manifest)
    if config.backbone is None:
        return config, None
    backbone, borrowed = config.backbone.with_weights()
    return config.model_copy(update={"backbone": backbone}), borrowed


def embedding_cache(config: RunConfig, precision: str) -> EmbeddingCache | None:
    """Where a run keeps its embeddings, if it does: told apart by all that changes them, the program's version too."""
    if config.evaluate.cache_dir is None:
        return None
    system = config.model_dump(mode="json", include=set(System.model_fields))
    if system["backbone"] is not None:
        system["backbone"].pop("weights", None)  # where the file lies changes nothing; its sha256 is there
    evaluated = config.evaluate.model_dump(mode="json", include={"first_s", "average", "reference_weight"})
    version = provenance()
    described = {**system, **evaluated, "classes": config.data.classes, "precision": precision, **version}
    return EmbeddingCache(Path(config.evaluate.cache_dir), described)


def open_data(config: RunConfig, clusters: np.ndarray | None = None) -> Data:
    """The set of a config, its splits and its plan; UserError where it cannot be trained on."""
    manifest = open_shards(config.data, clusters)
    check_soundless(manifest)
    check_reference(config, manifest)
    if config.task.is_classifier and not config.task.may_rest:
        build.check_classes(len(manifest.taught))  # before the plan, which may find too few clips for the same reason
    splits = make_splits(manifest, config.train.seed, config.data.val_fraction)
    streams = make_streams(config.data.streams, manifest, splits, config.train.global_batch)
    if untrained := _why_untrained(config, manifest, streams[0]):
        splits = make_splits(manifest, config.train.seed, 0)  # there is nothing to hold clips out from
    if config.debug or untrained or not config.task.trains:  # then the plan is never followed
        streams[0] = _filled(streams[0])
    windows = windows_of(manifest, config.data.window)
    plan = make_plan(streams, config.train.seed, config.data.run_length, windows)
    return Data(manifest, splits, plan, clusters, untrained)


def _why_untrained(config: RunConfig, manifest: Manifest, own: Stream) -> str | None:
    """What a set lacks to learn from, where the task may do without; None: nothing."""
    if not config.task.may_rest:
        return None
    if len(manifest.taught) < 2:
        return "there is a single machine, and none to tell it from"
    if len(own.clips) < own.batch and not config.debug:
        return f"{len(own.clips)} clips to learn from do not fill a batch of {own.batch}"
    return None


def _filled(stream: Stream) -> Stream:
    """Of a set that is smaller than a batch, clips come more than once: a debug run only goes through."""
    count = len(stream.clips)
    rows = np.resize(np.arange(count), max(count, stream.batch)) if count else np.arange(0)
    classes, parts = (None if column is None else column[rows] for column in (stream.classes, stream.parts))
    return replace(stream, clips=stream.clips[rows], classes=classes, parts=parts)


def check_soundless(manifest: Manifest) -> None:
    """Of a machine whose microphone was dead nothing can be learnt, and its scores would say nothing."""
    dead = [str(c) for c in manifest.classes if f"{SOUNDLESS}{c}" in manifest.file.notes]
    if dead:
        raise UserError(
            f"{manifest.root}: no training clip of {', '.join(dead[:5])} has sound (python -m shards.verify says "
            "what they hold): record them again, pack another --channel, or train on other data.machine_types"
        )


def open_shards(data: DataConfig, clusters: np.ndarray | None = None) -> Manifest:
    """The packed set of a config, its tars looked into; where it is missing, the commands that make it."""
    if "://" in data.shards:
        from asd.data.cache.cached_set import open_cached

        cached = open_cached(data.shards, user_path(data.cache_dir), data.cache_gib)
        return _chosen(cached, data, clusters)
    root = Path(data.shards)
    if not root.exists():
        raise UserError(
            f"no shards at {root}: make them with `python -m shards.pack --layout dcase2020 --source YOUR_DATA --out "
            f"{command(root)}` (no data? `python -m shards.synth --out factory` makes a factory to pass as --source)"
        )
    manifest = load_manifest(root)
    reader = Reader(manifest)
    reader.check_members()
    reader.close()
    return _chosen(manifest, data, clusters)


def _chosen(manifest: Manifest, data: DataConfig, clusters: np.ndarray | None) -> Manifest:
    """The machines of a set that a run is about, divided into the classes that it tells apart."""
    return with_proxy_classes(restrict(manifest, data.machine_types, data.machine_ids), data.classes, clusters)


def build_task(config: RunConfig, manifest: Manifest, borrowed: Borrowed | None = None) -> Task:
    """The module of a config for the classes of a set, initialised from train.seed, on the CPU.

    borrowed: the weights of a pre-trained encoder.
    """
    check_frames(config, manifest.sample_rate)
    _check_short_clips(config, manifest)
    _check_unknown_flips(config, manifest)
    torch.manual_seed(config.train.seed)
    outliers = config.data.streams.outliers != "none"
    machine_of = () if manifest.proxy is None else manifest.proxy.machine
    rate, machines = manifest.sample_rate, len(manifest.classes)
    task = build.build_task(config, config.train.seed, rate, machines, outliers, machine_of, borrowed)
    return build.prepare(task, config.model)


def _check_short_clips(config: RunConfig, manifest: Manifest) -> None:
    """Windows cut whole clips in evaluation: each clip must give one."""
    if config.windows is None or config.evaluate.first_s is not None:
        return
    clips = np.concatenate([manifest.select("train"), manifest.select("test")])
    least = config.frontend.samples_for(config.windows.frames)
    short = clips[manifest.frames[clips] < least]
    if len(short):
        first, seconds = manifest.strings("file_name", short[:1])[0], least / manifest.sample_rate
        raise UserError(
            f"{len(short)} clips of {manifest.root} are shorter than the {seconds:.3f} s of a window (first: {first}): "
            "use fewer windows.frames, or leave them out"
        )


def _check_unknown_flips(config: RunConfig, manifest: Manifest) -> None:
    """A class to flip must be one of the set; in a run for one machine type it may be another type's."""
    if not config.evaluate.flip:
        return
    machines = zip(manifest.strings("machine_type"), manifest.strings("machine_id"), strict=True)
    names = sorted({"/".join(machine) for machine in machines})
    if unknown := next((name for name in config.evaluate.flip if name not in names), None):
        raise UserError(f"evaluate.flip names {unknown}, which is not a class of the set: it has {', '.join(names)}")
