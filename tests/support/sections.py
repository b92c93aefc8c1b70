"""Recordings named by section."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.errors import UserError
from shards.layouts import find_clips

TRAIN = "section_00_source_train_normal_0000_vel_21.wav"


def touch(root: Path, *places: str) -> Path:
    """Empty files: no layout opens a recording."""
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def refusal(layout: str, *sources: Path) -> str:
    with pytest.raises(UserError) as caught:
        find_clips(layout, sources)
    assert "\n" not in str(caught.value)
    return str(caught.value)
