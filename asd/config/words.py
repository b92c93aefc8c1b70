"""Settings as a person writes them, `a.b=c` words and yaml files, read by the type of their key; and written so that a
shell and this file read them back.

Where the config class wants text (IDs, machine types, paths), what stands there is the text: `00`, `no`, `12:30` are
names, not what YAML 1.1 makes of them (nor 1.2, where `00` is the number 0), and neither `#` nor `: ` nor a comma ends
a word. A list is a yaml list, whose items may be quoted: `[fan, "fan, small"]`. Where a part belongs, its name alone is
the part with its defaults.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

import pydantic
import yaml

NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)  # ValueError: no text, or no day such as 2026-13-45
NULLS = ("null", "Null", "NULL", "~", "")
BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
NOT_FINITE = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}

Hints = list[Any]  # the types that may stand at a place: no unions, nothing annotated
Models = list[type[pydantic.BaseModel]]


# ---- reading -------------------------------------------------------------------------------------------------------


class Plain(str):
    """A scalar that stands in yaml without quotes: of which type it is, its key says."""

    __slots__ = ()


class _Loader(yaml.SafeLoader):
    """Knows lists, mappings, anchors and quotes; leaves plain scalars as they are."""


def _scalar(loader: _Loader, node: yaml.ScalarNode) -> str:
    return node.value if node.style else Plain(node.value)


_Loader.yaml_implicit_resolvers = {"<": [("tag:yaml.org,2002:merge", re.compile("<<$"))]}
_Loader.add_constructor("tag:yaml.org,2002:str", _scalar)


def read_yaml(text: str, model: type[pydantic.BaseModel]) -> Any:
    """The values of a yaml text for a model. Raises one of NOT_YAML."""
    return typed(yaml.load(text, _Loader), [model])


def read_value(text: str, hints: Hints) -> Any:
    """The value of a word whose key is of one of these types. Raises one of NOT_YAML."""
    if text.lstrip()[:1] in ("[", "{") and not all(_is_text(hint) for hint in hints):
        return typed(yaml.load(text, _Loader), hints)
    return typed(Plain(text), hints)


def typed(value: Any, hints: Hints) -> Any:
    """Plain scalars anywhere in a value become what the types want."""
    return _typed(value, hints, {})


def _typed(value: Any, hints: Hints, known: dict[tuple[int, str], Any]) -> Any:
    """known: what was made of it before; an alias may stand at a thousand places."""
    if isinstance(value, Plain):
        return _of_type(value, hints)
    if not isinstance(value, dict | list):
        return value
    key = id(value), str(hints)
    if key not in known:
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        made = {_name(at): _typed(item, hints_below(hints, value, _name(at)), known) for at, item in inner}
        known[key] = made if isinstance(value, dict) else list(made.values())
    return known[key]


def _name(key: Any) -> Any:
    return str(key) if isinstance(key, Plain) else key


def _of_type(text: Plain, hints: Hints) -> Any:
    if type(None) in hints and text in (NULLS if str not in hints else ("null", "")):
        return None
    if any(text in names_of(model) for model in models_in(hints)):
        return {"name": str(text)}  # a part with its defaults
    literals = [value for hint in hints if typing.get_origin(hint) is Literal for value in typing.get_args(hint)]
    if str in hints or text in literals:
        return str(text)
    if bool in hints and text.lower() in BOOLS:
        return BOOLS[text.lower()]
    return _number(str(text)) if {int, float} & {*hints, *map(type, literals)} else str(text)


def _number(text: str) -> int | float | str:
    """In tens: `010` is ten, and `1:30` is none."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return NOT_FINITE.get(text.lower(), text)


# ---- which types may stand where -----------------------------------------------------------------------------------


def alternatives(annotation: Any) -> Hints:
    """The types of an annotation, out of their unions."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return alternatives(inner[0])
    if origin in (typing.Union, types.UnionType):
        return [hint for part in inner for hint in alternatives(part)]
    return [annotation]


def hints_below(hints: Hints, value: Any, key: Any) -> Hints:
    """What may stand under a key of a mapping, or at a place of a list; `name` in a mapping chooses the part."""
    if isinstance(value, list):
        return [hint for part in hints for hint in _items(part, key)]
    parts = models_in(hints)
    chosen = [model for model in parts if isinstance(value, dict) and value.get("name") in names_of(model)] or parts
    return [hint for model in chosen if (f := model.model_fields.get(key)) for hint in alternatives(f.annotation)]


def _items(hint: Any, place: int) -> Hints:
    inner = typing.get_args(hint) if typing.get_origin(hint) is tuple else ()
    at = 0 if inner[1:] == (...,) else place
    return alternatives(inner[at]) if at < len(inner) else []


def models_in(hints: Hints) -> Models:
    """The config classes among types."""
    return [hint for hint in hints if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel)]


def models_of(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """The config classes that a setting may hold, also in a list."""
    for hint in alternatives(annotation):
        yield from models_in([hint])
        if typing.get_origin(hint) is tuple:
            yield from (model for inner in typing.get_args(hint) for model in models_of(inner))


def names_of(model: type[pydantic.BaseModel]) -> tuple[str, ...]:
    """The names that choose a config class among others."""
    field = model.model_fields.get("name")
    return typing.get_args(field.annotation) if field is not None else ()


def is_list(hints: Hints) -> bool:
    return any(typing.get_origin(hint) is tuple for hint in hints)


def _is_text(hint: Any) -> bool:
    return hint in (str, type(None)) or (
        typing.get_origin(hint) is Literal and all(isinstance(value, str) for value in typing.get_args(hint))
    )
