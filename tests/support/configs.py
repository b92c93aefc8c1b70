"""Configs of the repository with words over them, and what is said where they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.config.load import load_config
from asd.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"


DEFAULT = CONFIGS / "dcase2020_integrated.yaml"


def load(*overrides: str):
    return load_config(DEFAULT, overrides)


def refusal(*overrides: str, path: Path = DEFAULT) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path
