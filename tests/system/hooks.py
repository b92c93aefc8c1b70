"""Changes that a forked rank makes to itself before it runs."""

from __future__ import annotations

from asd.evaluator import BackgroundScoring


def no_scoring() -> None:
    """Leave the scoring process out, which takes longer than all of a tiny run."""
    BackgroundScoring._score = lambda self, step: None  # type: ignore[method-assign]
