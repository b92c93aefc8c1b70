"""What settings of several parts must have in common."""

from __future__ import annotations

from typing import Any

from asd.backbones import AutoencoderConfig, MobileFaceNetConfig, MobileNetV2Config, ResNetIRConfig
from asd.config.run import RunConfig
from asd.errors import UserError
from asd.frontends import TASTConfig
from asd.tasks import VICRegTaskConfig


def check_batch(config: RunConfig, world_size: int) -> None:
    """Refuse a global batch that ranks, accumulation and mixing groups do not divide, or that cannot be normalised."""
    if (problem := _batch_problem(config, world_size)) is None:
        return
    fitting = [n for n in range(1, min(config.train.global_batch, 1024) + 1) if _batch_problem(config, n) is None]
    few = [*map(str, fitting[:8]), *("…" for _ in fitting[8:9])]
    ranks = f"; or start {', '.join(few)} rank{'s' * (few != ['1'])}, as a run that goes on keeps its batch"
    raise UserError(problem + (ranks if fitting else ""))


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
    branch = 2 if isinstance(config.task, VICRegTaskConfig) else 1  # clips of which one is normalised with the others
    groups = {f"mixup.group_size={config.mixup.group_size}": config.mixup.group_size} if config.mixup else {}
    for what, size in (groups | ({"the pair of task vicreg": 2} if branch == 2 else {})).items():
        if share % size:
            return (
                f"each forward pass sees {share} clip{'s' if share > 1 else ''}, which {what} does not divide: "
                f"use a train.global_batch that is a multiple of {parts * size}"
                + (", or smaller groups" if groups else "")
            )
    for key, norm in _norms(config).items():
        rows = (share if norm == "batch" else train.global_batch // train.accumulate) // branch
        if rows < 2 and norm != "group":
            least = 2 * branch * (parts if norm == "batch" else train.accumulate)
            return (
                f"each forward pass sees {share // branch} clip, over which {key}={norm} has no statistics: "
                f"use a train.global_batch of {least} or more, or {key}=group"
            )
    return None


def _norms(config: RunConfig) -> dict[str, str]:
    """Every kind of normalisation in the network, by its key."""
    parts: dict[str, Any] = {"backbone": config.backbone, "loss": config.loss}
    parts |= {f"task.{name}": getattr(config.task, name, None) for name in ("network", "expander")}
    return {f"{name}.norm": part.norm for name, part in parts.items() if getattr(part, "norm", None)}


def check_frames(config: RunConfig, sample_rate: int) -> None:
    """Refuse crops that give no window, or that do not fit a network which takes one clip length alone."""
    if config.windows is not None:
        crop, frames = round(config.data.crop_s * sample_rate), config.windows.frames
        if config.frontend.frames_of(crop) < frames:
            least = config.frontend.samples_for(frames) / sample_rate
            raise UserError(
                f"data.crop_s={config.data.crop_s} gives no window of {frames} frames: set it to {least:.3f}"
            )
    wanted = _fixed_frames(config)
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
                f"{config.frontend.samples_for(frames) / sample_rate:.3f} (or a "
                "little more), or choose the length-free parts (pool: time_mean, norm_over: channels)"
            )


def _fixed_frames(config: RunConfig) -> set[int]:
    """Numbers of frames that parts of the network insist on."""
    frames = set()
    backbone, network = config.backbone, getattr(config.task, "network", None)
    if isinstance(config.frontend, TASTConfig) and config.frontend.norm_over == "time":
        frames.add(config.frontend.frames)
    if isinstance(backbone, MobileFaceNetConfig) and backbone.pool == "conv":
        frames.add(backbone.conv_frames)
    if isinstance(backbone, MobileNetV2Config) and backbone.pool == "conv" and config.windows is not None:
        frames.add(backbone.conv_frames)
    if isinstance(backbone, ResNetIRConfig) and backbone.pool == "flatten":
        frames.add(backbone.flatten_frames)
    if isinstance(network, AutoencoderConfig):
        frames.add(network.frames)
    return frames
