"""Steps that were not finite, counted."""

from __future__ import annotations

import torch

from asd.train.nonfinite import NonfiniteSteps


def read(steps: str, total: int = 0, streak: int = 0) -> tuple[int, int, int]:
    """Counts after steps, of which those marked x were not finite."""
    counted = NonfiniteSteps(total, streak, torch.device("cpu"))
    for step in steps:
        counted.add(torch.tensor(step == "x"))
    return counted.read()


def test_total_present_row_and_longest_row() -> None:
    assert read("") == (0, 0, 0)
    assert read("..xx.x") == (3, 1, 2)
    assert read("xxx..") == (3, 0, 3)


def test_a_row_goes_on_over_a_resume() -> None:
    assert read("x", total=7, streak=4) == (8, 5, 5)
    assert read(".", total=7, streak=4) == (7, 0, 4)
