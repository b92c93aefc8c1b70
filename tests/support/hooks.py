"""Changes that a forked rank makes to itself before it runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from asd.data.reader import Reader
from asd.evaluate.background import BackgroundScoring
from asd.frontends import Mixing
from asd.frontends.log_mel import LogMel
from asd.monitor import watchdog
from asd.monitor.alerts import stalled
from asd.run_folder import checkpoint
from tests.support.inline import score_inline, without_figures

GO = "ASD_TEST_GO"


def no_scoring() -> None:
    """Leave the scoring process out, which takes longer than all of a tiny run."""
    BackgroundScoring._score = lambda self, step: None  # type: ignore[method-assign]


def score_at_once() -> None:
    """Evaluations are scored by rank 0 itself, without figures."""
    score_inline(pytest.MonkeyPatch())


def no_figures() -> None:
    """Leave them out of a scoring."""
    without_figures(pytest.MonkeyPatch())


def slow_saves() -> None:
    """No scoring, and saves that take long enough for a kill to fall into most of them."""
    no_scoring()
    fast = checkpoint._sync

    def slow(path: Path) -> None:
        time.sleep(0.02)
        fast(path)

    checkpoint._sync = slow


def nan_once() -> None:
    """What the network of rank 1 alone sees is not a number in the fourth step."""
    _spoil(lambda call: call == 4 and os.environ.get("RANK") == "1")


def nan_from_then_on() -> None:
    """What the network of rank 1 alone sees is not a number from the fourth step on."""
    _spoil(lambda call: call >= 4 and os.environ.get("RANK") == "1")


def _spoil(when: Callable[[int], bool]) -> None:
    no_scoring()
    sound, calls = LogMel.forward, [0]

    def forward(self: LogMel, waveform: Tensor, mix: Mixing | None = None) -> Tensor:
        calls[0] += 1
        return sound(self, waveform * float("nan") if when(calls[0]) else waveform, mix)

    LogMel.forward = forward  # type: ignore[method-assign]


def impatient() -> None:
    """No scoring, a watchdog that looks often, and does not wait for the others' words for long."""
    no_scoring()
    watchdog.TICK_S, stalled.REPORT_S = 0.1, 1.0


def hang_in_the_loader() -> None:
    """Rank 1 reads no further than some steps until a file is there, which the environment names."""
    impatient()
    stalled.REPORT_S = 60.0  # both ranks report
    if os.environ.get("RANK") != "1":
        return
    sound, calls = Reader.read, [0]

    def hanging_read(self: Reader, *args: Any) -> Any:
        calls[0] += 1
        while calls[0] > 6 and not Path(os.environ[GO]).exists():
            time.sleep(0.05)
        return sound(self, *args)

    Reader.read = hanging_read  # type: ignore[method-assign]
