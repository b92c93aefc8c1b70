"""The configuration of a run: the parts' own config classes in one tree, read from yaml and `a.b=c` words."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from asd.backbones import AutoencoderConfig, MobileFaceNetConfig, MobileNetV2Config, ResNetIRConfig
from asd.checkpoint import CheckpointConfig
from asd.data.loader import DataConfig, PathText
from asd.errors import UserError
from asd.evaluator import EvaluateConfig
from asd.frontends import TASTConfig
from asd.optim import OptimConfig
from asd.scorers import reads
from asd.tasks import ReconstructionConfig, System, VICRegTaskConfig, tells_classes_apart
from asd.trainer import TrainConfig
from asd.words import (
    NOT_YAML,
    Hints,
    Models,
    hints_below,
    is_list,
    models_of,
    names_of,
    read_value,
    read_yaml,
    write_word,
)

OTHER_NAMES = {"learning_rate": "lr", "batch_size": "global_batch"}  # what a setting is often called
MOST_WORDS = 400  # characters about one mistake: what stands in the file may have any length


class RunSection(pydantic.BaseModel, extra="forbid", frozen=True):
    """Where a run lives."""

    dir: PathText = ""  # empty: runs/<name of the config file>


class RunConfig(System, frozen=True):
    """One system, whole."""

    run: RunSection = RunSection()
    data: DataConfig
    optim: OptimConfig
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    init_from: PathText | None = None  # a run, checkpoint folder or published file whose weights training starts from
    init_checkpoint: Literal["best", "last"] = "best"  # of that run: best by its own evaluate.select, or the newest
    resume: Literal["auto", "never"] = "auto"  # never: the run folder must hold no checkpoint
    debug: bool = False  # a few clips of everything, from the first step to the report, in a folder of its own

    @pydantic.model_validator(mode="after")
    def _selection_has_something_to_select_by(self) -> RunConfig:
        if self.evaluate.select != "clean":
            return self
        if isinstance(self.task, VICRegTaskConfig):
            raise ValueError("task vicreg has no loss of held-out clips: set evaluate.select=last (or oracle)")
        if self.data.val_fraction == 0:
            raise ValueError("evaluate.select=clean needs data.val_fraction above 0, or choose evaluate.select=oracle")
        return self

    @pydantic.model_validator(mode="after")
    def _scorers_read_what_the_task_gives(self) -> RunConfig:
        given = {"embedding", "features"}
        given |= {"logits"} if tells_classes_apart(self.task) else set()
        if isinstance(self.task, ReconstructionConfig):
            given |= {"errors"} | ({"residuals"} if self.task.network.name != "wavenet_mu_law" else set())
        for scorer in self.evaluate.scorers:
            if (wanted := reads(scorer)) not in given:
                fitting = "knn, mahalanobis" + (", reconstruction" if "errors" in given else "")
                raise ValueError(
                    f"evaluate.scorers: {scorer.name} reads {wanted}, which task {self.task.name} does not give: "
                    f"name others, such as {fitting}"
                )
        return self

    @pydantic.model_validator(mode="after")
    def _streams_fit_the_task(self) -> RunConfig:
        streams, name = self.data.streams, self.task.name
        wanted = {"ccsa": "rows", "interpolation": "pairs"}.get(name)
        if wanted is not None and streams.target != wanted:
            raise ValueError(f"task {name} needs data.streams.target={wanted}")
        if wanted is None and streams.target == "pairs":
            raise ValueError(f"data.streams.target=pairs is for task interpolation, not for {name}")
        if streams.outliers != "none" and name not in ("classification", "ccsa"):
            raise ValueError(f"data.streams.outliers are for tasks classification and ccsa, not for {name}")
        if streams.target == "pairs" and self.train.global_batch % 2:
            raise ValueError(
                f"data.streams.target=pairs needs an even train.global_batch, not {self.train.global_batch}"
            )
        if streams.target == "rows" and name == "vicreg":
            raise ValueError("task vicreg would pair clips of different streams: set data.streams.target=none")
        shares = streams.shares(self.train.global_batch)
        if shares["own"] < 1:
            batch = self.train.global_batch
            raise ValueError(f"data.streams leaves the machines' own clips {shares['own']} of {batch} rows of a batch")
        if len(shares) > 1 and self.mixup is not None:
            raise ValueError("mixup would mix clips of different streams: leave it out, or the streams")
        if len(shares) > 1 and self.train.accumulate > 1:
            raise ValueError("train.accumulate would cut the streams of a batch apart: leave it at 1")
        return self

    @pydantic.model_validator(mode="after")
    def _parts_of_a_batch_suffice(self) -> RunConfig:
        if self.train.accumulate > 1 and self.task.needs_whole_batch:
            raise ValueError(
                f"task {self.task.name} compares all clips of a batch, which train.accumulate={self.train.accumulate} "
                "would cut apart: leave it at 1"
            )
        return self


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a yaml file, put `a.b=c` words over it, validate all of it; UserError names file, key and what is wrong."""
    tree = _read_yaml(path)
    for word in sorted(overrides, key=_names_no_part):  # stable: of two words for one key the last counts
        _override(tree, word)
    _one_length(tree, overrides)
    config = validate(tree, str(path))
    if not config.run.dir:
        config = config.model_copy(update={"run": RunSection(dir=f"runs/{path.stem}")})
    return debugged(config) if config.debug else config


def debugged(config: RunConfig) -> RunConfig:
    """The same system on a few clips of everything: whether all of it runs, in a minute or so."""
    few = {"fit_clips_per_class": 4, "test_clips_per_class": 4, "every_epochs": 1, "by_watcher": False}
    return config.model_copy(
        update={
            "run": RunSection(dir=f"{config.run.dir.removesuffix('_debug')}_debug"),
            "train": config.train.model_copy(update={"epochs": None, "steps": 3, "log_every": 1}),
            "evaluate": config.evaluate.model_copy(update=few),
        }
    )


def validate(tree: dict[str, Any], source: str) -> RunConfig:
    """A config from plain values."""
    try:
        return RunConfig.model_validate(tree)
    except pydantic.ValidationError as error:
        raise UserError(f"{source}: {'; '.join(_explain(e)[:MOST_WORDS] for e in error.errors()[:3])}") from None


def dump_yaml(config: RunConfig) -> str:
    """The resolved config as yaml that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


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


def _read_yaml(path: Path) -> dict[str, Any]:
    if path.is_dir():
        inside = sorted(path.glob("*.yaml"))
        raise UserError(f"{path} is a folder: name a yaml file" + (f", such as {inside[0]}" if inside else ""))
    if not path.is_file():
        beside = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
        hint = f"; did you mean {path.parent / beside[0]}?" if beside else ""
        raise UserError(f"{path} does not exist{hint}")
    try:
        tree = read_yaml(path.read_text(encoding="utf-8"), RunConfig)
    except NOT_YAML as error:
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
    *parents, leaf = key.split(".")
    node, hints = tree, [RunConfig]
    for name in parents:
        hints = hints_below(hints, node, name)
        if not isinstance(node.get(name), dict):
            node[name] = {}
        node = node[name]
    value = _value(word, text, hints_below(hints, node, leaf))
    if leaf == "name" and "name" in node and _part(parents, node["name"]) is not _part(parents, value):
        node.clear()
    node[leaf] = value


def _value(word: str, text: str, hints: Hints) -> Any:
    try:
        value = read_value(text, hints)
    except NOT_YAML:
        raise UserError(f"{word!r}: the value is not yaml") from None
    if isinstance(value, str) and is_list(hints):
        raise UserError(f"{word!r} takes a list, in brackets: {write_word(word.partition('=')[0], [value])}")
    return value


def _one_length(tree: dict[str, Any], overrides: Sequence[str]) -> None:
    """A word for train.epochs or train.steps takes the place of the other one in the file."""
    given, train = {word.partition("=")[0] for word in overrides}, tree.get("train")
    for key, other in (("epochs", "steps"), ("steps", "epochs")):
        if f"train.{key}" in given and f"train.{other}" not in given and isinstance(train, dict) and train.get(key):
            train.pop(other, None)


def _explain(error: Any) -> str:
    """One pydantic error in the user's words."""
    where, _ = _locate(error["loc"])
    if error["type"] == "extra_forbidden":
        return _explain_unknown(where, _locate(error["loc"][:-1])[1])
    if error["type"] == "missing":
        return f"{where} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if not where:
        return message
    value = error.get("input")
    return f"{where}={value}: {message}" if isinstance(value, str | int | float | bool) else f"{where}: {message}"


def _explain_unknown(where: str, models: Models) -> str:
    """The nearest key of the same section, else one of the same name elsewhere."""
    section, _, leaf = where.rpartition(".")
    prefix, fields = section and f"{section}.", {name for model in models for name in model.model_fields}
    every = list(_keys(RunConfig))
    near = [OTHER_NAMES[leaf]] if OTHER_NAMES.get(leaf) in fields else difflib.get_close_matches(leaf, fields, n=1)
    keys = [prefix + name for name in near]
    if not keys:
        leaves = {key.rpartition(".")[2]: key for key in reversed(every) if key.rpartition(".")[0] != section}
        keys = [leaves[name] for name in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.8)]
    hint = f", did you mean {keys[0]}?" if keys else ""
    if where in every:
        part = " or ".join(name for model in models for name in names_of(model))
        return f"{where} is no setting of {part}{hint}"
    return f"unknown key {where}{hint}"


def _locate(path: Sequence[str | int]) -> tuple[str, Models]:
    """The dotted key of a place in the tree, and the config classes that may stand there.

    pydantic puts the name of a part behind the key of its section: such a step chooses one of the classes.
    """
    words: list[str] = []
    models: Models = [RunConfig]
    for step in path:
        chosen = [model for model in models if step in names_of(model)]
        if chosen and len(models) > 1:
            models = chosen
            continue
        words.append(str(step))
        if isinstance(step, str):
            models = [m for model in models if (f := model.model_fields.get(step)) for m in models_of(f.annotation)]
    return ".".join(words), models


def _part(path: Sequence[str], name: Any) -> type[pydantic.BaseModel] | None:
    """The config class that a name chooses in a section."""
    return next((model for model in _locate(path)[1] if name in names_of(model)), None)


def _keys(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key that a config may hold."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for part in models_of(field.annotation):
            yield from _keys(part, f"{prefix}{name}.")
