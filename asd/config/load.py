"""From a yaml file and `a.b=c` words to the settings of a run, and back to yaml."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from asd.config.explain import MAX_WORDS, explain, part_at
from asd.config.moved import MOVED, move_settings
from asd.config.run import RunConfig, RunSection
from asd.config.words import NOT_YAML, Hints, hints_below, is_list, read_value, read_yaml
from asd.errors import UserError
from asd.text.shell import write_word


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a yaml file, put `a.b=c` words over it, validate all of it; UserError names file, key and what is wrong."""
    tree = _read_yaml(path)
    move_settings(tree)
    for word in sorted(overrides, key=_names_no_part):  # stable: of two words for one key the last counts
        _override(tree, word)
    _one_length(tree, overrides)
    config = validate(tree, str(path))
    if not config.run.dir:
        config = config.model_copy(update={"run": RunSection(dir=f"runs/{path.stem}")})
    return debugged(config) if config.debug else config


def debugged(config: RunConfig) -> RunConfig:
    """The same system on a few clips of everything: whether all of it runs, in a minute or so."""
    few = {
        "fit_clips_per_class": 4,
        "test_clips_per_class": 4,
        "every_epochs": 1,
        "every_steps": None,
        "by_watcher": False,
    }
    short = {"epochs": None, "steps": 3 if config.task.trains else None, "log_every": 1}
    return config.model_copy(
        update={
            "run": RunSection(dir=f"{config.run.dir.removesuffix('_debug')}_debug"),
            "train": config.train.model_copy(update=short),
            "evaluate": config.evaluate.model_copy(update=few),
        }
    )


def validate(tree: dict[str, Any], source: str) -> RunConfig:
    """A config from plain values."""
    try:
        return RunConfig.model_validate(tree)
    except pydantic.ValidationError as error:
        raise UserError(f"{source}: {'; '.join(explain(e)[:MAX_WORDS] for e in error.errors()[:3])}") from None


def dump_yaml(config: RunConfig) -> str:
    """The resolved config as yaml that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


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
        raise UserError(f"{path} must contain keys and values, such as train: {{epochs: 10}}")
    return tree


def _names_no_part(word: str) -> bool:
    """Sorts x.name=y first: it drops settings of the former part, and must not drop those of other words."""
    return not word.partition("=")[0].endswith(".name")


def _override(tree: dict[str, Any], word: str) -> None:
    """Set one `a.b=c`; naming another part (x.name=y) drops the settings of the former one."""
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise UserError(f"{word!r} is not of the form key=value, such as train.epochs=10")
    *parents, leaf = MOVED.get(key, key).split(".")
    node, hints = tree, [RunConfig]
    for name in parents:
        hints = hints_below(hints, node, name)
        if not isinstance(node.get(name), dict):
            node[name] = {}
        node = node[name]
    value = _value(word, text, hints_below(hints, node, leaf))
    if leaf == "name" and "name" in node and part_at(parents, node["name"]) is not part_at(parents, value):
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
