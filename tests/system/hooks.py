"""Changes that a forked rank makes to itself before it runs."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

from asd import checkpoint
from asd.data.batch import Batch
from asd.evaluator import BackgroundScoring
from asd.tasks import Classification, StepOutput


def no_scoring() -> None:
    """Leave the scoring process out, which takes longer than all of a tiny run."""
    BackgroundScoring._score = lambda self, step: None  # type: ignore[method-assign]


def slow_saves() -> None:
    """No scoring, and saves that take long enough for a kill to fall into most of them."""
    no_scoring()
    fast = checkpoint._sync

    def slow(path: Path) -> None:
        time.sleep(0.02)
        fast(path)

    checkpoint._sync = slow


def nan_once() -> None:
    """The loss of rank 1 alone is not a number in the fourth step."""
    _spoil(lambda call: call == 4 and os.environ.get("RANK") == "1")


def nan_from_then_on() -> None:
    """The loss of rank 1 alone is not a number from the fourth step on."""
    _spoil(lambda call: call >= 4 and os.environ.get("RANK") == "1")


def _spoil(when: Callable[[int], bool]) -> None:
    no_scoring()
    sound, calls = Classification.forward, [0]

    def forward(self: Classification, batch: Batch) -> StepOutput:
        calls[0] += 1
        output = sound(self, batch)
        return dataclasses.replace(output, loss=output.loss * float("nan")) if when(calls[0]) else output

    Classification.forward = forward  # type: ignore[method-assign]
