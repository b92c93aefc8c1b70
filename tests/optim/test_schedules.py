"""Learning rates as functions of the step."""

from __future__ import annotations

import math

import numpy as np
import pydantic
import pytest
import torch
from torch import nn

from asd.optim.config import OptimConfig
from asd.optim.schedules import ConstantConfig, CosineConfig, HoldLinearConfig, WarmRestartsConfig


def factor(schedule, epoch: float, total: float = 100.0) -> float:
    """Learning rate as a share of its peak."""
    return OptimConfig(lr=0.2, schedule=schedule).lr_at(epoch, total) / 0.2


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 0.0),
        (0.5, 0.25),
        (1, 0.5),
        (2, 1.0),  # top of the first cycle, epochs 0-10
        (4, 0.5 * (1 + math.cos(math.pi / 4))),
        (6, 0.5),
        (10, 0.0),  # the second, epochs 10-30
        (11, 0.5),
        (12, 1.0),
        (21, 0.5),
        (30, 0.0),  # the third, epochs 30-70
        (32, 1.0),
        (51, 0.5),
        (70, 0.0),
        (72, 1.0),
    ],
)
def test_warm_restarts(epoch, expected):
    assert factor(WarmRestartsConfig(t_0=10, t_mult=2, t_up=2), epoch) == pytest.approx(expected, abs=1e-9)


def test_warm_restarts_equals_torch_without_warm_up():
    parameter = nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([parameter], lr=0.2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd, T_0=5, T_mult=3, eta_min=0.02)
    ours = WarmRestartsConfig(t_0=5, t_mult=3, t_up=0, floor=0.1)
    for tenth in range(0, 600, 7):
        scheduler.step(tenth / 10)
        assert factor(ours, tenth / 10) * 0.2 == pytest.approx(sgd.param_groups[0]["lr"], abs=1e-9)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.0), (0.5, 0.5), (1, 1.0), (2, 0.1 + 0.9 * 0.5 * (1 + math.sqrt(0.5))), (3, 0.55), (5, 0.1), (9, 0.1)],
)
def test_cosine(epoch, expected):
    assert factor(CosineConfig(warmup_epochs=1, floor=0.1), epoch, total=5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 1.0), (29.9, 1.0), (30, 1.0), (31, 59 / 60), (60, 0.5), (75, 0.25), (89, 1 / 60), (90, 0.0), (100, 0.0)],
)
def test_hold_linear(epoch, expected):
    """S3: constant to epoch 30, then linearly down over 60."""
    assert factor(HoldLinearConfig(), epoch) == pytest.approx(expected, abs=1e-9)
    floored = factor(HoldLinearConfig(floor=1e-5), epoch)
    assert floored == pytest.approx(1e-5 + (1 - 1e-5) * expected, abs=1e-9)


def test_hold_linear_falls_at_once_without_a_hold():
    schedule = HoldLinearConfig(hold_epochs=0, fall_epochs=4)
    assert [factor(schedule, e) for e in (0, 1, 4, 5)] == pytest.approx([1.0, 0.75, 0.0, 0.0])


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 0.0), (1, 0.08), (5, 0.4), (10, 0.8), (55, (0.8 + 0.002) / 2), (100, 0.002)]
)
def test_the_schedule_of_vicreg_pre_training_is_a_cosine(epoch, expected):
    """S5: 0 → 0.8 over 10 epochs, then a cosine to 0.002 at epoch 100."""
    config = OptimConfig(name="lars", lr=0.8, schedule=CosineConfig(warmup_epochs=10, floor=0.002 / 0.8))
    assert config.lr_at(epoch, 100) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.0), (1, 0.25), (4, 1.0), (99, 1.0)])
def test_constant(epoch, expected):
    assert factor(ConstantConfig(warmup_epochs=4), epoch) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [ConstantConfig, CosineConfig])
def test_a_warm_up_may_be_counted_in_steps(kind) -> None:
    config = OptimConfig(lr=0.2, schedule=kind(warmup_steps=50))
    assert config.in_epochs(20) == OptimConfig(lr=0.2, schedule=kind(warmup_epochs=2.5))
    for schedule in (kind(warmup_epochs=3), HoldLinearConfig()):
        assert OptimConfig(schedule=schedule).in_epochs(20) == OptimConfig(schedule=schedule)
    with pytest.raises(pydantic.ValidationError, match="give warmup_epochs or warmup_steps, one of the two"):
        kind(warmup_steps=50, warmup_epochs=1)


def test_no_warm_up_starts_at_the_top():
    for schedule in (ConstantConfig(), CosineConfig(), WarmRestartsConfig(t_up=0)):
        assert factor(schedule, 0) == 1.0


@pytest.mark.parametrize(
    ("schedule", "jumps"),
    [
        (WarmRestartsConfig(t_0=10, t_mult=2, t_up=2), []),
        (WarmRestartsConfig(t_0=10, t_mult=2, t_up=0), [10, 30, 70]),
        (WarmRestartsConfig(t_0=10, t_mult=1.5, t_up=3, floor=0.2), [10, 25, 47.5, 81.25]),
        (CosineConfig(warmup_epochs=5, floor=0.05), []),
        (ConstantConfig(warmup_epochs=5), []),
        (HoldLinearConfig(floor=0.1), []),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_schedules_jump_only_where_a_cycle_begins(schedule, jumps):
    epochs = np.arange(0, 100, 0.01)
    factors = np.array([factor(schedule, e) for e in epochs])
    assert ((factors >= 0) & (factors <= 1)).all()
    found = epochs[1:][abs(np.diff(factors)) > 0.02]
    assert found.tolist() == pytest.approx(jumps, abs=0.011)


def test_a_cycle_shorter_than_its_warm_up_is_refused():
    with pytest.raises(pydantic.ValidationError, match="t_up 10 must be shorter than t_0 10"):
        WarmRestartsConfig(t_0=10, t_up=10)
