"""A detector of a small run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clips import exported
from tests.support.inline import score_inline


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    score_inline(monkeypatch)


@pytest.fixture(scope="module")
def detector(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four machines, clips of 1 s at 16 kHz; the primary scorer is softmax."""
    return exported(small_set, tmp_path_factory.mktemp("detector"), "classifies")
