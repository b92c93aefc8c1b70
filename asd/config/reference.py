"""docs/config.md: every key of a config with default, unit or values, and meaning, read from the classes themselves.

python -m asd.config.reference > docs/config.md

A key's meaning is the comment on its line or right above it, or what its class says behind "key: "; its unit is the end
of its name, or the meaning's first word.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import pydantic
import yaml
from pydantic.fields import FieldInfo

from asd.config.run import RunConfig
from asd.config.words import models_of
from asd.text.markdown import markdown_table

Model = type[pydantic.BaseModel]
ENDINGS = {
    "_s": "s", "_gib": "GiB", "_db": "dB", "_epochs": "epochs", "_steps": "steps", "_rows": "rows",
    "_frames": "frames", "_fraction": "of 1", "_per_class": "clips", "percent": "%",
}  # fmt: skip
UNITS = ("batches", "channels", "clips", "epochs", "frames", "Hz", "radians", "rows", "samples", "steps")
BOUNDS = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}
HEAD = """# Config keys

Made by `python -m asd.config.reference` from the classes that read a config; a test keeps it true.

A key stands in a yaml file (`data: {crop_s: 2.0}`) or behind a command (`data.crop_s=2.0`); what is left out has its
default. An unknown key is an error that names the nearest one. Lists are written `[a, b]`, nothing is `null`. Where a
part comes in several kinds, its `name` chooses one, and only that one's keys may stand beside it.
"""


def page() -> str:
    """The whole page."""
    parts = {name: field for name, field in RunConfig.model_fields.items() if any(models_of(field.annotation))}
    alone = {name: field for name, field in RunConfig.model_fields.items() if name not in parts}
    lines = [HEAD, "## At the top", "", *_table(RunConfig, alone, "")]
    for name, field in parts.items():
        lines += ["", f"## {name}", "", *_part(RunConfig, name, field, name)]
    return "\n".join(lines) + "\n"


def _part(owner: Model, name: str, field: FieldInfo, path: str, beside: typing.Sequence[Model] = ()) -> Iterator[str]:
    """Lines on a key that holds a part: its one class, or a heading for each kind.

    beside: kinds that the page describes already, among them the owner.
    """
    kinds, default = list(models_of(field.annotation)), None if field.is_required() else field.get_default()
    if meaning := meaning_of(owner, name):
        yield from (f"{_sentence(meaning)}.", "")
    if len(kinds) == 1:
        if isinstance(default, tuple):
            yield from (f"`{path}` is a list of these; default: `{_yaml(default)}`.", "")
            default = None
        elif default is None:
            yield from (f"`{path}` is {'required' if field.is_required() else '`null` by default'}.", "")
        yield from _class(kinds[0], path, default)
        return
    names = ", ".join(f"`{kind.model_fields['name'].default}`" for kind in kinds)
    yield f"`{path}.name`: {names}. {_default_kind(field.is_required(), default)}"
    if set(kinds) <= set(beside):
        yield f"Their keys are those of `{path.rpartition('.')[0]}`."
        return
    for kind in kinds:
        yield from ("", f"### {path}: {kind.model_fields['name'].default}", "")
        yield from _class(kind, path, beside=kinds)


def _default_kind(required: bool, default: Any) -> str:
    if required:
        return "One of them is required."
    if isinstance(default, tuple):
        return f"A list of them; default: {', '.join(f'`{_yaml(one)}`' for one in default)}."
    return f"Default: `{'null' if default is None else default.name}`."


def _class(model: Model, path: str, default: Any = None, beside: typing.Sequence[Model] = ()) -> Iterator[str]:
    """What a class says of itself, its keys, and behind these the keys of parts within it.

    default: what the key that holds it has where nothing is said, whose values are then the defaults.
    """
    own = {name: field for name, field in model.model_fields.items() if not _is_kind(name, field)}
    alone = {name: field for name, field in own.items() if not any(models_of(field.annotation))}
    if said := _about(model)[0]:
        yield from (said, *([""] if alone else []))
    if alone:
        yield from _table(model, alone, f"{path}.", default)
    for name in (name for name in own if name not in alone):
        yield from ("", *_part(model, name, own[name], f"{path}.{name}", beside))


def _is_kind(name: str, field: FieldInfo) -> bool:
    """Whether a key only says which kind its part is."""
    return name == "name" and len(typing.get_args(field.annotation)) == 1


def _table(model: Model, fields: dict[str, FieldInfo], before: str, default: Any = None) -> Iterator[str]:
    rows = []
    for name, field in fields.items():
        meaning, values = meaning_of(model, name), _values(field.annotation, field.metadata)
        unit = next((unit for end, unit in ENDINGS.items() if name.endswith(end)), None)
        unit = unit or next((word for word in UNITS if meaning.split(" ")[0].rstrip(",;:") == word), None)
        value = getattr(default, name) if default is not None else field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() and default is None else f"`{_yaml(value)}`"
        cells = (f"`{before}{name}`", shown, f"{unit}: {values}" if unit else values, _sentence(meaning))
        rows.append([cell.replace("|", "\\|") for cell in cells])
    yield markdown_table(["key", "default", "unit or values", "meaning"], rows, words=4)


def _sentence(comment: str) -> str:
    return comment.replace("None", "`null`")


def meaning_of(model: Model, name: str) -> str:
    """What a key means, which may be nothing."""
    return _comments(model).get(name) or _about(model)[1].get(name, "")


@cache
def _about(model: Model) -> tuple[str, dict[str, str]]:
    """A class's docstring: what it says of the whole, and key → what stands behind "key: "."""
    names = "|".join(model.model_fields)
    whole, *pairs = re.split(rf"(?:^|(?<=[.\s]))({names}): ", " ".join((inspect.getdoc(model) or "").split()))
    return whole.strip(), {name: said.strip().removesuffix(".") for name, said in zip(*[iter(pairs)] * 2, strict=True)}


@cache
def _comments(model: Model) -> dict[str, str]:
    """Key → the comment on its line or right above it, those of the classes that it is made from included."""
    if model is pydantic.BaseModel:
        return {}
    found: dict[str, str] = {}
    for parent in reversed(model.__bases__):
        found |= _comments(parent) if issubclass(parent, pydantic.BaseModel) else {}
    source = inspect.getsource(model)
    said = {
        token.start[0]: (token.string.removeprefix("#").strip(), token.line.lstrip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = node.lineno
            while said.get(first - 1, ("", False))[1]:
                first -= 1
            if words := [said[line][0] for line in range(first, (node.end_lineno or node.lineno) + 1) if line in said]:
                found[node.target.id] = " ".join(words)
    return found


def _yaml(value: Any) -> str:
    """As it would stand in a config, on one line."""
    if isinstance(value, pydantic.BaseModel):
        value = {"name": getattr(value, "name", None)} | value.model_dump(mode="json", exclude_defaults=True)
    elif isinstance(value, tuple):
        value = pydantic.TypeAdapter(tuple).dump_python(value, mode="json")
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _values(annotation: Any, limits: typing.Sequence[Any] = ()) -> str:
    """What may stand there, in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _values(arguments[0], arguments[1:])
    if origin is Literal:
        return ", ".join(f"`{_yaml(choice)}`" for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(_values(one, limits) for one in arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"list of {_values(arguments[0])}"
    if origin is tuple and len(set(arguments)) == 1:
        return f"{len(arguments)} × {_values(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(_values(one) for one in arguments)}]"
    plain = {int: "integer", float: "number", bool: "`true`, `false`", str: "text", type(None): "`null`"}[annotation]
    return f"{plain}{_within(limits)}" if annotation in (int, float) else plain


def _within(limits: typing.Sequence[Any]) -> str:
    """The bounds of a number, from pydantic's metadata."""
    found: dict[str, Any] = {}
    for limit in limits:
        for one in limit.metadata if isinstance(limit, FieldInfo) else [limit]:
            found |= {name: getattr(one, name) for name in BOUNDS if getattr(one, name, None) is not None}
    return "".join(f" {BOUNDS[name]} {found[name]:.6g}" for name in BOUNDS if name in found)


if __name__ == "__main__":
    print(page(), end="")
