"""A task whose step is not the mean over parts of its batch says so, and its batch is not cut apart."""

from __future__ import annotations

import typing

import pydantic
import pytest
import torch

from asd.tasks import TaskConfig
from asd.tasks.base import Task
from tests.support.parts import MAPS, SOURCE, TARGET, WINDOWS, batch_of, task_of

CONFIGS = [config for config in typing.get_args(typing.get_args(TaskConfig)[0]) if config.trains]
AUTOENCODER = {"name": "autoencoder", "frames": 8, "hidden": [24, 16], "bottleneck": 4, "norm": "group"}
PARTS = {  # beside the task's own words: what each of them needs
    "classification": {},
    "outlier_exposure": {},
    "ccsa": {"backbone": MAPS},
    "interpolation": {},
    "vicreg": {"loss": None},
    "reconstruction": {"loss": None, "backbone": None, "windows": WINDOWS},
}
WORDS = {
    "ccsa": {"da_lambda": 0.3, "margin": 2.0},
    "vicreg": {"expander": {"widths": (24, 12), "norm": "group"}},
    "reconstruction": {"network": AUTOENCODER},
}


def build(config: type[pydantic.BaseModel]) -> Task:
    name = config.model_fields["name"].default
    return task_of(task={"name": name, **WORDS.get(name, {})}, **PARTS[name])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_a_task_says_whether_its_batch_may_be_accumulated_in_parts(config: type[pydantic.BaseModel]) -> None:
    task = build(config)
    batch = batch_of([0, 1, 2, 1] * 4, [SOURCE, SOURCE, TARGET, TARGET] * 4)
    task(batch).loss.backward()
    whole = torch.cat([p.grad.flatten() for p in task.parameters() if p.grad is not None])
    task.zero_grad()
    for part in batch.split(2):
        (task(part).loss / 2).backward()
    parts = torch.cat([p.grad.flatten() for p in task.parameters() if p.grad is not None])
    apart = float((parts - whole).norm() / whole.norm())
    assert (apart > 1e-2) if config.needs_whole_batch else (apart < 1e-4)  # type: ignore[attr-defined]
