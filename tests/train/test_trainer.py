"""A step of the trainer with the fp16 scaler, on a CPU: no rank ever trains so here, GPUs without bf16 do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from asd.data.batch import Batch
from asd.distributed.ranks import Ranks
from asd.errors import UserError
from asd.loggers.base import Loggers
from asd.optim.build import build_optimizer
from asd.optim.config import OptimConfig
from asd.optim.schedules import ConstantConfig, CosineConfig, HoldLinearConfig, ScheduleConfig, WarmRestartsConfig
from asd.process.stop import StopSignal
from asd.run_folder.checkpoint import CheckpointConfig
from asd.tasks.base import StepOutput
from asd.train.config import TrainConfig
from asd.train.parts import Parts
from asd.train.trainer import Trainer

SAMPLES = 8
ADAM = OptimConfig()


class Linear(nn.Module):
    """Mean square of one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(SAMPLES, 4)

    def forward(self, batch: Batch) -> StepOutput:
        return StepOutput(self.layer(batch.waveform.float()).square().mean())


def batch_of(value: int, clips: int = 6) -> Batch:
    rows = torch.arange(clips * SAMPLES, dtype=torch.int16).view(clips, SAMPLES) % 7 + value
    index = torch.arange(clips)
    valid = torch.ones(clips, dtype=torch.bool)
    return Batch(rows, torch.full((clips,), SAMPLES), index, index * 0, index * 0, valid, 0, 0, 0)


def trainer_with(
    scaler: torch.amp.GradScaler | None, optim: OptimConfig = ADAM, clip_norm: float | None = 0.5, epochs: int = 1
) -> Trainer:
    accelerator: Any = SimpleNamespace(prepare=lambda model: model, no_sync=torch.no_grad, scaler=scaler)
    ranks = Ranks(accelerator, 0, 1, torch.device("cpu"), "fp16" if scaler else "fp32")
    task = Linear()
    unused: Any = SimpleNamespace(bad={}, pop_wait_s=lambda: 0.0)
    plan: Any = SimpleNamespace(steps_per_epoch=10)
    evaluate: Any = None
    parts = Parts(
        task=task, optimizer=build_optimizer(optim, task.parameters()), loader=unused, plan=plan, crop=SAMPLES,
        max_bad_clips=0, ranks=ranks, loggers=Loggers(), stop=StopSignal(), evaluate=evaluate, checkpoints=Path(),
        profile=Path(), meta={}, config_yaml="",
    )  # fmt: skip
    train = TrainConfig(global_batch=6, epochs=epochs, clip_norm=clip_norm)
    return Trainer(train, optim, CheckpointConfig(), parts, None)


def weights(trainer: Trainer) -> np.ndarray:
    return trainer.parts.task.layer.weight.detach().numpy().copy()  # type: ignore[union-attr, operator]


def test_scaled_steps_are_the_steps_without_a_scaler() -> None:
    scaled, plain = trainer_with(torch.amp.GradScaler("cpu", init_scale=1024.0)), trainer_with(None)
    for trainer in (scaled, plain):
        for value in range(3):
            trainer._step(batch_of(value))
    assert not np.array_equal(weights(plain), weights(trainer_with(None)))
    np.testing.assert_allclose(weights(scaled), weights(plain), rtol=1e-6)


def test_an_infinite_scaled_gradient_changes_nothing_lowers_the_scale_and_is_not_counted() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1e38)
    trainer = trainer_with(scaler)
    before = weights(trainer)
    trainer._step(batch_of(100))
    assert np.array_equal(weights(trainer), before)
    assert scaler.get_scale() < 1e38
    trainer._check_finite()
    assert trainer.state.nonfinite_steps == 0


def test_an_infinite_gradient_without_a_scaler_is_counted() -> None:
    trainer = trainer_with(None)
    before = weights(trainer)
    with torch.no_grad():
        trainer.parts.task.layer.bias.fill_(torch.inf)  # type: ignore[union-attr, operator]
    trainer._step(batch_of(1))
    assert np.array_equal(weights(trainer), before)
    trainer._check_finite()
    assert trainer.state.nonfinite_steps == 1


def scale_of(trainer: Trainer) -> dict[str, Any]:
    assert trainer.scaler is not None
    return {name: trainer.scaler.state_dict()[name] for name in ("scale", "_growth_tracker")}


@pytest.mark.parametrize("why", ["asked", "asked and without clips"])
def test_who_is_asked_to_stop_takes_no_further_step(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    trainer = trainer_with(torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=4))

    def batches() -> Iterator[Batch]:
        yield from (batch_of(value) for value in range(3))
        trainer.parts.stop.name = "SIGTERM"
        yield dataclasses.replace(batch_of(1), is_placeholder=why != "asked")

    monkeypatch.setattr(trainer, "batches", batches)
    assert list(trainer.steps()) == [1, 2, 3]
    assert scale_of(trainer) == {"scale": 1024.0, "_growth_tracker": 3}
    assert (trainer.state.step, trainer.state.clips_seen) == (3, 18)


def test_a_gradient_that_is_not_finite_lowers_the_scale_for_good() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer = trainer_with(scaler)
    trainer._step(batch_of(1))
    with torch.no_grad():
        trainer.parts.task.layer.bias.fill_(torch.inf)  # type: ignore[union-attr, operator]
    trainer._step(batch_of(1))
    assert scale_of(trainer) == {"scale": 512.0, "_growth_tracker": 0}


SCHEDULES = [
    ConstantConfig(warmup_epochs=2), CosineConfig(warmup_epochs=2), CosineConfig(warmup_epochs=0.05),
    WarmRestartsConfig(t_0=4, t_mult=1, t_up=2), HoldLinearConfig(hold_epochs=0, fall_epochs=8),
]  # fmt: skip


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_every_step_learns_something(schedule: ScheduleConfig) -> None:
    """The first of a warm-up, also behind a restart, and the last: 8 epochs of 10 steps."""
    trainer = trainer_with(None, OptimConfig(schedule=schedule), epochs=8)
    rates = []
    for step in range(80):
        trainer.state.step = step
        trainer._set_learning_rate()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert min(rates) > 0
    epochs = [trainer.optim.lr_at(float(epoch), 8) for epoch in range(1, 8)]
    around = [(rates[10 * epoch - 1] + rates[10 * epoch]) / 2 for epoch in range(1, 8)]
    cusps = {2, 4, 6} if schedule.name in ("warm_restarts", "constant", "cosine") else set()
    for epoch, (at, mean) in enumerate(zip(epochs, around, strict=True), 1):
        assert mean == pytest.approx(at, rel=0.01) or epoch in cusps, (epoch, at, mean)


def test_a_warm_up_in_steps_ends_with_them() -> None:
    trainer = trainer_with(None, OptimConfig(lr=0.2, schedule=ConstantConfig(warmup_steps=25)), epochs=8)
    rates = []
    for trainer.state.step in (0, 12, 24, 25, 79):
        trainer._set_learning_rate()
        rates.append(trainer.lr)
    assert rates == pytest.approx([0.2 * 0.5 / 25, 0.2 * 12.5 / 25, 0.2 * 24.5 / 25, 0.2, 0.2])


@pytest.mark.parametrize("clip_norm", [None, 0.25, 1e6])
def test_gradients_are_as_long_as_they_are_unless_the_config_clips_them(clip_norm: float | None) -> None:
    trainer = trainer_with(None, OptimConfig(name="sgd", lr=0.125, momentum=0.0), clip_norm)
    before = [p.detach().clone() for p in trainer.weights]
    trainer._step(batch_of(3))
    moved = torch.cat([(p.detach() - old).flatten() for p, old in zip(trainer.weights, before, strict=True)]).norm()
    (record,) = trainer.interval.steps
    assert record["grad_norm"] > 1  # shown as it was before clipping
    assert moved.item() / 0.125 == pytest.approx(min(record["grad_norm"].item(), clip_norm or math.inf), rel=1e-4)


def test_nonfinite_steps_in_a_row_end_the_run_when_they_are_read() -> None:
    trainer = trainer_with(None)
    trainer.train = trainer.train.model_copy(update={"max_nonfinite": 2})
    for value in (math.nan, math.nan, 0.0):
        with torch.no_grad():
            trainer.parts.task.layer.bias.fill_(value)  # type: ignore[union-attr, operator]
        trainer._step(batch_of(1))
    with pytest.raises(UserError, match="not finite for 2 steps in a row by step 3: use"):
        trainer._check_finite()


def test_nothing_is_clipped_by_default() -> None:
    assert TrainConfig(epochs=1).clip_norm is None
