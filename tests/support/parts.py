"""Small systems and batches of noise for the tests of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from asd.backbones import CPResNetConfig, MobileFaceNetConfig
from asd.data.batch import Batch
from asd.data.manifest import DOMAINS
from asd.frontends import LogMelConfig, WindowsConfig
from asd.losses import SoftmaxConfig
from asd.tasks.base import Task
from asd.tasks.build import build_task
from asd.tasks.system import System

RATE, SAMPLES, SEED = 16_000, 4_000, 7
SOURCE, TARGET = DOMAINS.index("source"), DOMAINS.index("target")
FRONTEND = LogMelConfig(n_fft=512, hop=256, n_mels=32)  # 16 frames
FACE = MobileFaceNetConfig(bottlenecks=((2, 32, 1, 2),), width=0.25, embedding=16, norm="group")
MAPS = CPResNetConfig(rho_f=2, rho_t=2, width=8, norm="group", input_norm="none")
WINDOWS = WindowsConfig(frames=8, hop=4)  # three of a clip


def task_of(num_classes: int = 3, outliers: bool = False, **parts: Any) -> Task:
    """A task with the usual parts where none are named."""
    torch.manual_seed(0)
    usual: dict[str, Any] = {"frontend": FRONTEND, "backbone": FACE, "loss": SoftmaxConfig()}
    return build_task(System(**{**usual, **parts}), SEED, RATE, num_classes, outliers)


def batch_of(
    classes: Sequence[int],
    domains: Sequence[int] | None = None,
    bad: Sequence[int] = (),
    seed: int = 0,
    first_row: int = 0,
    samples: int = SAMPLES,
) -> Batch:
    """Clips of noise of the given classes and domains; those named bad could not be read and are silent."""
    rng, rows = np.random.default_rng(seed), len(classes)
    waveform = torch.from_numpy(rng.integers(-9000, 9000, (rows, samples)).astype(np.int16))
    valid = torch.ones(rows, dtype=torch.bool)
    valid[list(bad)] = False
    waveform[~valid] = 0
    return Batch(
        waveform=waveform,
        frames=torch.full((rows,), samples),
        clip_index=torch.arange(rows),
        class_index=torch.tensor(classes),
        domain=torch.tensor([SOURCE] * rows if domains is None else domains),
        valid=valid,
        epoch=3,
        step=4,
        first_row=first_row,
    )


def spoilt(batch: Batch, row: int) -> Batch:
    """The same batch with other sounds in a row and its clip's class changed: what an unreadable clip must not tell."""
    waveform, classes = batch.waveform.clone(), batch.class_index.clone()
    waveform[row] = torch.from_numpy(np.random.default_rng(99).integers(-9000, 9000, waveform.shape[1])).short()
    if classes[row] >= 0:
        classes[row] = (classes[row] + 1) % (int(classes.max()) + 1)
    return replace(batch, waveform=waveform, class_index=classes)


def step_of(task: Task, batch: Batch) -> tuple[float, list[torch.Tensor]]:
    """(loss, gradients of all that learn)."""
    task.zero_grad()
    loss = task(batch).loss
    loss.backward()
    return loss.item(), [p.grad.clone() for p in task.parameters() if p.grad is not None]
