"""Flags that travel among the gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asd.tasks.base import StepOutput
from asd.train.flags import FlaggedTask, FlagReader, Seen

NONE, NONFINITE, STOP, BAD_CLIPS = ([0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0])


@dataclass(frozen=True)
class Number:
    """A batch of one number."""

    value: float
    missing: bool = False


class Square(nn.Module):
    """A task of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))

    def forward(self, batch: Any) -> StepOutput:
        return StepOutput((self.weight * batch.value).square())


def flags_of(task: FlaggedTask, nonfinite: Tensor | None = None) -> list[float]:
    return task.pop_flags(nonfinite).tolist()


@pytest.mark.parametrize(
    ("stop", "bad_clips", "expected"), [(False, False, NONE), (True, False, STOP), (False, True, BAD_CLIPS)]
)
def test_what_is_told_comes_out_and_the_loss_stays_as_it_is(stop: bool, bad_clips: bool, expected: list[int]) -> None:
    task, alone = FlaggedTask(Square()), Square()
    output = task(Number(2.0), stop, bad_clips)
    (output.loss * 65536).backward()  # as the fp16 scaler does
    (alone(Number(2.0)).loss * 65536).backward()
    assert output.loss.item() == 36
    assert torch.equal(task.task.weight.grad, alone.weight.grad)
    assert flags_of(task) == expected


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite(value: float) -> None:
    task = FlaggedTask(Square())
    task(Number(value), False, False).loss.backward()
    assert flags_of(task) == NONFINITE


def test_a_gradient_that_is_not_finite() -> None:
    task = FlaggedTask(Square())
    task(Number(1.0), True, False).loss.backward()
    assert flags_of(task, torch.tensor(1.0)) == [1, 1, 0, 0]


def test_a_missing_batch_is_told_and_changes_nothing() -> None:
    task = FlaggedTask(Square())
    task(Number(1.0, missing=True), True, False).loss.backward()
    assert task.task.weight.grad.isnan()  # so that the update is left out, on all ranks
    assert flags_of(task, torch.tensor(1.0)) == [1, 1, 0, 1]


def test_any_part_of_a_batch_may_raise_one_and_the_next_step_starts_anew() -> None:
    task = FlaggedTask(Square())
    for value in (1.0, torch.nan, 1.0):
        task(Number(value), False, False).loss.backward()
    assert flags_of(task) == NONFINITE
    task(Number(1.0), False, False).loss.backward()
    assert flags_of(task) == NONE


def test_flags_are_neither_trained_nor_saved_with_the_task() -> None:
    task = FlaggedTask(Square())
    assert list(task.task.state_dict()) == ["weight"]
    assert {name for name, _ in task.named_parameters()} == {"flags", "task.weight"}


def test_the_newest_steps_may_stay_unread() -> None:
    reader = FlagReader()
    for step in (1, 2, 3):
        reader.add(step, torch.tensor([float(step == 2), 0.0, 0.0, 0.0]))
    calm = Seen(1, False, False, False, False)
    assert list(reader.read(unread=1)) == [calm, replace(calm, step=2, nonfinite=True)]
    assert list(reader.read(unread=1)) == []
    assert list(reader.read()) == [replace(calm, step=3)]
