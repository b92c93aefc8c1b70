"""docs/config.md: it is what the classes say, says something of every key, and knows the keys of every config."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from asd.config.reference import meaning_of, models_of, page
from asd.config.run import RunConfig
from asd.frontends import TASTConfig

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "config.md"
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def test_the_page_is_what_the_classes_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m asd.config.reference > docs/config.md`"


def classes(model: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    """A config class and all that its keys may hold."""
    yield model
    for field in model.model_fields.values():
        for inner in models_of(field.annotation):
            yield from classes(inner)


def test_every_key_has_a_meaning() -> None:
    """A comment on its line, or "key: …" in the docstring of its class."""
    silent = {
        f"{model.__module__}.{model.__name__}.{name}"
        for model in classes(RunConfig)
        for name, field in model.model_fields.items()
        if not models_of(field.annotation) and not (name == "name" and isinstance(field.default, str))
        if not meaning_of(model, name)
    }
    assert silent == set()


def keys(tree: Any, path: str = "") -> Iterator[str]:
    """Every key of a config, dotted; those of a list's entries as of one."""
    for entry in tree if isinstance(tree, list) else [tree]:
        if isinstance(entry, dict):
            for name, value in entry.items():
                yield from keys(value, f"{path}.{name}" if path else name)
        elif not isinstance(tree, list):
            yield path
    if isinstance(tree, list) and not any(isinstance(entry, dict) for entry in tree):
        yield path


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_key_of_a_config_is_on_the_page(config: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    kinds = set(re.findall(r"^`([\w.]+)\.name`: ", page, re.MULTILINE))
    for inner, outer in re.findall(r"^`([\w.]+)\.name`: .*\nTheir keys are those of `([\w.]+)`\.$", page, re.MULTILINE):
        rows |= {inner + row.removeprefix(outer) for row in rows if row.startswith(f"{outer}.")}
    wanted = set(keys(yaml.safe_load(config.read_text(encoding="utf-8"))))
    assert {key for key in wanted if key not in rows and key.removesuffix(".name") not in kinds} == set()


@pytest.mark.parametrize(
    ("row"),
    [
        "| `data.crop_s` | `10.0` | s: number from 0.05 to 600 | training crop; evaluation takes whole clips |",
        "| `checkpoint.keep_last` | `2` | integer above 0 | checkpoints, the newest ones |",
        "| `backbone.depths` | `[3, 4, 6, 3]` | 4 × integer above 0 | blocks of each stage |",
        "| `resume` | `auto` | `auto`, `never` | never: the run folder must hold no checkpoint |",
    ],
)
def test_rows(row: str) -> None:
    assert row in page().splitlines()


def test_a_part_with_defaults_of_its_own_shows_these() -> None:
    n_fft = TASTConfig().mel.n_fft
    assert n_fft != TASTConfig.model_fields["mel"].annotation.model_fields["n_fft"].default
    assert f"| `frontend.mel.n_fft` | `{n_fft}` |" in page()
