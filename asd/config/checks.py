"""Cross-checks between the settings of several components."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

import pydantic

from asd.backbones.norms import NormKind
from asd.config.run import RunConfig
from asd.config.words import alternatives
from asd.data.manifest import Manifest
from asd.errors import UserError
from asd.evaluate.config import REFERENCE_WEIGHT

NORM_KINDS = frozenset(get_args(NormKind))


def check_batch(config: RunConfig, world_size: int) -> None:
    """Refuse a global batch that ranks, accumulation and mixing groups do not divide, or that cannot be normalised."""
    if not config.task.trains or (problem := _batch_problem(config, world_size)) is None:
        return
    fitting = [n for n in range(1, min(config.train.global_batch, 1024) + 1) if _batch_problem(config, n) is None]
    few = [*map(str, fitting[:8]), *("…" for _ in fitting[8:9])]
    ranks = f"; or start {', '.join(few)} rank{'s' * (few != ['1'])}, as a run that goes on keeps its batch"
    raise UserError(problem + (ranks if fitting else ""))


def check_profile(config: RunConfig, total_steps: int, world_size: int) -> None:
    """Refuse to trace steps or ranks that do not come."""
    asked = config.train.profile
    if asked is None:
        return
    if asked.start + asked.steps > total_steps:
        raise UserError(
            f"train.profile asks for steps {asked.start + 1} to {asked.start + asked.steps} of {total_steps}: lower "
            "train.profile.start or steps"
        )
    if strange := [rank for rank in asked.ranks if rank >= world_size]:
        raise UserError(f"train.profile.ranks names rank {strange[0]}, and there are {world_size}, counted from 0")


def _batch_problem(config: RunConfig, world_size: int) -> str | None:
    """Why so many ranks cannot share the global batch; None where they can."""
    train, parts = config.train, world_size * config.train.accumulate
    shares = config.data.streams.shares(train.global_batch)
    for stream, rows in shares.items():
        if rows % parts:
            accumulated = f" × {train.accumulate} accumulated parts" if train.accumulate > 1 else ""
            what = f"train.global_batch={rows}" if len(shares) == 1 else f"the batch's {rows} rows of stream {stream}"
            return (
                f"{what} cannot be divided by {world_size} ranks{accumulated}: "
                f"use a multiple of {parts}, such as {-(-rows // parts) * parts}"
            )
    share = train.global_batch // parts
    branch = config.task.pair_rows  # clips of which one is normalised with the others
    groups = {f"mixup.group_size={config.mixup.group_size}": config.mixup.group_size} if config.mixup else {}
    for what, size in (groups | ({f"the pair of task {config.task.name}": branch} if branch > 1 else {})).items():
        if share % size:
            return (
                f"each forward pass sees {share} clip{'s' if share > 1 else ''}, which {what} does not divide: "
                f"use a train.global_batch that is a multiple of {parts * size}"
                + (", or smaller groups" if groups else "")
            )
    parts_of_network = ("backbone", "loss", "task")
    for key, norm in _norms(config, parts_of_network).items():
        rows = (share if norm == "batch" else train.global_batch // train.accumulate) // branch
        if rows < 2 and norm != "group":
            least = 2 * branch * (parts if norm == "batch" else train.accumulate)
            return (
                f"each forward pass sees {share // branch} clip, over which {key}={norm} has no statistics: "
                f"use a train.global_batch of {least} or more, or {key}=group"
            )
    return None


def _norms(part: pydantic.BaseModel, names: Iterable[str], section: str = "") -> dict[str, str]:
    """Every kind of normalisation among these settings, by its key: it is known by its type, whatever it is called."""
    found: dict[str, str] = {}
    for name in names:
        key, value = f"{section}{name}", getattr(part, name)
        if isinstance(value, pydantic.BaseModel):
            found |= _norms(value, type(value).model_fields, f"{key}.")
        elif value in NORM_KINDS and NORM_KINDS.issuperset(_literals(type(part).model_fields[name].annotation)):
            found[key] = value
    return found


def _literals(annotation: Any) -> list[Any]:
    return [value for hint in alternatives(annotation) for value in get_args(hint)]


def check_sample_rate(config: RunConfig, manifest: Manifest) -> None:
    """Refuse a set at another sample rate than the backbone was trained at."""
    wanted, found = config.backbone and config.backbone.sample_rate, manifest.sample_rate
    if config.backbone is not None and wanted not in (None, found):
        raise UserError(
            f"backbone {config.backbone.name} hears {wanted} Hz, and {manifest.root} holds {found} Hz: pack the "
            f"recordings again with --sample-rate {wanted} --resample"
        )


def check_reference(config: RunConfig, manifest: Manifest) -> None:
    """Refuse a weight for a second microphone that the set does not have."""
    weight = config.evaluate.reference_weight
    if manifest.channels == 1 and weight not in (0, REFERENCE_WEIGHT):
        raise UserError(
            f"evaluate.reference_weight={weight} is for sets with a reference microphone, and {manifest.root} holds "
            "one channel: leave it out, or pack the recordings again with --channel NEAR,REFERENCE"
        )


def check_frames(config: RunConfig, sample_rate: int) -> None:
    """Refuse crops that give no window, that are too short for a network, or that do not fit one which takes one clip
    length alone."""
    of_crop = config.frontend.frames_of(round(config.data.crop_s * sample_rate))
    if config.windows is not None and of_crop < config.windows.frames:
        least = config.frontend.samples_for(config.windows.frames) / sample_rate
        raise UserError(
            f"data.crop_s={config.data.crop_s} gives no window of {config.windows.frames} frames: set it to {least:.3f}"
        )
    _check_least_frames(config, of_crop, sample_rate)
    wanted = config.fixed_frames()
    if not wanted:
        return
    if len(wanted) > 1:
        raise UserError(f"the parts of this network want different numbers of frames: {sorted(wanted)}")
    (frames,) = wanted
    if config.windows is not None:
        if config.windows.frames != frames:
            raise UserError(f"windows.frames={config.windows.frames} does not fit a network for {frames} frames")
        return
    for key, seconds in (("data.crop_s", config.data.crop_s), ("evaluate.first_s", config.evaluate.first_s)):
        if seconds is None or config.frontend.frames_of(round(seconds * sample_rate)) != frames:
            raise UserError(
                f"{key}={seconds} does not fit a network for exactly {frames} frames: set it to "
                f"{config.frontend.samples_for(frames) / sample_rate:.3f} (or a little more), or choose the "
                "length-free parts (pool: time_mean, norm_over: channels, fft_samples: null)"
            )


def _check_least_frames(config: RunConfig, of_crop: int, sample_rate: int) -> None:
    """Refuse crops, or windows, that are too short for the backbone."""
    if config.backbone is None:
        return
    least, name = config.backbone.least_frames(), config.backbone.name
    if config.windows is not None and config.windows.frames < least:
        frames = config.windows.frames
        raise UserError(f"windows.frames={frames} is too short for backbone {name}: set it to {least} or more")
    if config.windows is None and of_crop < least:
        seconds = config.frontend.samples_for(least) / sample_rate
        raise UserError(
            f"data.crop_s={config.data.crop_s} is too short for backbone {name}: set it to {seconds:.3f} or more"
        )
