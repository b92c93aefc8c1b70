"""A detector of a small run."""

from __future__ import annotations

from pathlib import Path

import pytest

import eval as evaluation
from tests.support.clips import make_run
from tests.support.inline import score_inline


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    score_inline(monkeypatch)


@pytest.fixture(scope="module")
def detector(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four machines, clips of 1 s at 16 kHz; the primary scorer is softmax."""
    folder = tmp_path_factory.mktemp("detector")
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        run = make_run(small_set, folder / "run", "classifies")
        assert evaluation.main(["export", "--run", str(run), "--out", str(folder / "detector.pt")]) == 0
    return folder / "detector.pt"
