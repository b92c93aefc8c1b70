"""Changes that a forked rank makes to itself before it runs."""

from __future__ import annotations

import time
from pathlib import Path

from asd import checkpoint
from asd.evaluator import BackgroundScoring


def no_scoring() -> None:
    """Leave the scoring process out, which takes longer than all of a tiny run."""
    BackgroundScoring._score = lambda self, step: None  # type: ignore[method-assign]


def slow_saves() -> None:
    """No scoring, and saves that take long enough for a kill to fall into most of them."""
    no_scoring()
    fast = checkpoint._sync

    def slow(path: Path) -> None:
        time.sleep(0.01)
        fast(path)

    checkpoint._sync = slow
