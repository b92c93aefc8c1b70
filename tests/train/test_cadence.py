"""What is due when."""

from __future__ import annotations

import pytest

from asd.evaluate.config import EvaluateConfig
from asd.train.cadence import Every


@pytest.mark.parametrize(
    ("every", "due"),
    [
        (Every(3, last=7), [3, 6, 7]),
        (Every(7, last=7), [7]),
        (Every(9, last=7), [7]),
        (EvaluateConfig(every_epochs=1).every(2, 5), [2, 4, 5]),
        (EvaluateConfig(every_epochs=2, every_steps=3).every(1, 7), [3, 6, 7]),
    ],
)
def test_every_so_many_steps_and_the_last_one(every: Every, due: list[int]) -> None:
    assert [step for step in range(every.last + 1) if every.due(step)] == due
