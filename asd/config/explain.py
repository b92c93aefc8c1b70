"""Error messages for mistakes in a config, one line each."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import pydantic

from asd.config.run import RunConfig
from asd.config.words import Models, models_of, names_of

OTHER_NAMES = {"learning_rate": "lr", "batch_size": "global_batch"}  # what a setting is often called
MAX_WORDS = 400  # characters about one mistake: what stands in the file may have any length


def explain(error: Any) -> str:
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
        return f"{where} is not a setting of {part}{hint}"
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


def part_at(path: Sequence[str], name: Any) -> type[pydantic.BaseModel] | None:
    """The config class that a name chooses in a section."""
    return next((model for model in _locate(path)[1] if name in names_of(model)), None)


def _keys(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key that a config may hold."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for part in models_of(field.annotation):
            yield from _keys(part, f"{prefix}{name}.")
