"""The configuration of a run: the parts' own config classes in one tree, read from yaml and `a.b=c` words."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from asd.augment.mixup import MixupConfig
from asd.backbones import BackboneConfig, MobileFaceNetConfig, ResNetIRConfig
from asd.checkpoint import CheckpointConfig
from asd.data.loader import DataConfig
from asd.errors import UserError
from asd.evaluator import EvaluateConfig
from asd.frontends import FrontendConfig, TASTConfig
from asd.losses import LossConfig
from asd.optim import OptimConfig
from asd.trainer import TrainConfig


class RunSection(pydantic.BaseModel, extra="forbid", frozen=True):
    """Where a run lives."""

    dir: str = ""  # empty: runs/<name of the config file>


class RunConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """One system, whole."""

    task: Literal["classification"] = "classification"
    run: RunSection = RunSection()
    data: DataConfig
    frontend: FrontendConfig
    backbone: BackboneConfig
    loss: LossConfig
    mixup: MixupConfig | None = None
    optim: OptimConfig
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    init_from: str | None = None  # a run or checkpoint folder whose weights training starts from
    resume: Literal["auto", "never"] = "auto"  # never: the run folder must hold no checkpoint

    @pydantic.model_validator(mode="after")
    def _selection_has_something_to_select_by(self) -> RunConfig:
        if self.evaluate.select == "clean" and self.data.val_fraction == 0:
            raise ValueError("evaluate.select=clean needs data.val_fraction above 0, or choose evaluate.select=oracle")
        return self


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a yaml file, put `a.b=c` words over it, validate all of it; UserError names file, key and what is wrong."""
    tree = _read_yaml(path)
    for word in sorted(overrides, key=_names_no_part):  # stable: of two words for one key the last counts
        _override(tree, word)
    config = validate(tree, str(path))
    if config.run.dir:
        return config
    return config.model_copy(update={"run": RunSection(dir=f"runs/{path.stem}")})


def validate(tree: dict[str, Any], source: str) -> RunConfig:
    """A config from plain values."""
    try:
        return RunConfig.model_validate(tree)
    except pydantic.ValidationError as error:
        raise UserError(f"{source}: {'; '.join(_explain(e) for e in error.errors()[:3])}") from None


def dump_yaml(config: RunConfig) -> str:
    """The resolved config as yaml that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def check_batch(config: RunConfig, world_size: int) -> None:
    """Refuse a global batch that ranks, accumulation and mixing groups do not divide."""
    train, parts = config.train, world_size * config.train.accumulate
    if train.global_batch % parts:
        accumulated = f" × {train.accumulate} accumulated parts" if train.accumulate > 1 else ""
        raise UserError(
            f"train.global_batch={train.global_batch} cannot be divided by {world_size} ranks{accumulated}: "
            f"use a multiple of {parts}, such as {-(-train.global_batch // parts) * parts}"
        )
    share = train.global_batch // parts
    if config.mixup is not None and share % config.mixup.group_size:
        raise UserError(
            f"each forward pass sees {share} clips, which mixup.group_size={config.mixup.group_size} does not divide: "
            f"use a train.global_batch that is a multiple of {parts * config.mixup.group_size}, or smaller groups"
        )


def check_frames(config: RunConfig, sample_rate: int) -> None:
    """Refuse crops that do not fit a network which takes one clip length alone."""
    wanted = _fixed_frames(config)
    if not wanted:
        return
    if len(wanted) > 1:
        raise UserError(f"the parts of this network want different numbers of frames: {sorted(wanted)}")
    (frames,) = wanted
    hop = config.frontend.mel.hop if isinstance(config.frontend, TASTConfig) else config.frontend.hop
    for key, seconds in (("data.crop_s", config.data.crop_s), ("evaluate.first_s", config.evaluate.first_s)):
        if seconds is None or 1 + round(seconds * sample_rate) // hop != frames:
            length = (frames - 1) * hop / sample_rate
            raise UserError(
                f"{key}={seconds} does not fit a network for exactly {frames} frames: set it to {length:.3f} (or a "
                "little more), or choose the length-free parts (pool: time_mean, norm_over: channels)"
            )


def _fixed_frames(config: RunConfig) -> set[int]:
    frames = set()
    if isinstance(config.frontend, TASTConfig) and config.frontend.norm_over == "time":
        frames.add(config.frontend.frames)
    if isinstance(config.backbone, MobileFaceNetConfig) and config.backbone.pool == "conv":
        frames.add(config.backbone.conv_frames)
    if isinstance(config.backbone, ResNetIRConfig) and config.backbone.pool == "flatten":
        frames.add(config.backbone.flatten_frames)
    return frames


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        beside = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
        hint = f"; did you mean {path.parent / beside[0]}?" if beside else ""
        raise UserError(f"{path} does not exist{hint}")
    try:
        tree = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not yaml: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold keys and values, such as train: {{epochs: 10}}")
    return tree


def _names_no_part(word: str) -> bool:
    """Sorts x.name=y first: it drops settings of the former part, and must not drop those of other words."""
    return not word.partition("=")[0].endswith(".name")


def _override(tree: dict[str, Any], word: str) -> None:
    """Set one `a.b=c`; naming another part (x.name=y) drops the settings of the former one."""
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise UserError(f"{word!r} is not of the form key=value, such as train.epochs=10")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"{word!r}: the value is not yaml") from None
    *parents, leaf = key.split(".")
    node = tree
    for name in parents:
        if not isinstance(node.get(name), dict):
            node[name] = {}
        node = node[name]
    if leaf == "name" and node.get("name") != value:
        node.clear()
    node[leaf] = value


def _explain(error: Any) -> str:
    """One pydantic error in the user's words."""
    where = ".".join(str(part) for part in error["loc"] if part not in _tags())
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, list(_keys(RunConfig)), n=1, cutoff=0.4)
        return f"unknown key {where}" + (f", did you mean {near[0]}?" if near else "")
    if error["type"] == "missing":
        return f"{where} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if not where:
        return message
    value = error.get("input")
    return f"{where}={value}: {message}" if isinstance(value, str | int | float | bool) else f"{where}: {message}"


def _keys(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key that a config may hold."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for part in _models(field.annotation):
            yield from _keys(part, f"{prefix}{name}.")


def _models(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated, tuple):
        for inner in typing.get_args(annotation):
            yield from _models(inner)


def _tags() -> set[str]:
    """Names of parts, which pydantic puts into the path of an error behind the key of their section."""
    return {tag for part in _all_models(RunConfig) for tag in _literal_name(part)}


def _all_models(model: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for part in _models(field.annotation):
            yield from _all_models(part)


def _literal_name(model: type[pydantic.BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("name")
    return typing.get_args(field.annotation) if field is not None else ()
