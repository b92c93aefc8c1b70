"""From the parts of a config to the module that is trained."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

import torch

from asd.backbones import build_backbone
from asd.backbones.base import Backbone, Borrowed
from asd.backbones.bfloat16 import avoid_wrong_bfloat16
from asd.backbones.norms import norm2d
from asd.backbones.statistics import Statistics
from asd.backbones.strides import subsample_narrow_strides
from asd.errors import UserError
from asd.frontends import Windows, build_frontend
from asd.losses import build_loss
from asd.tasks import TASKS
from asd.tasks.base import Parts, Task
from asd.tasks.freezing import frozen_parts
from asd.tasks.model import ModelConfig
from asd.tasks.system import System


def build_task(
    system: System,
    seed: int,
    sample_rate: int,
    num_classes: int,
    outliers: bool = False,
    machine_of: Sequence[int] = (),
    borrowed: Borrowed | None = None,
) -> Task:
    """The network and loss of a system; UserError where there is nothing to tell apart.

    num_classes: machines, which are scored. machine_of: of the finer classes that the network tells apart, the machine
    of each; empty: it tells machines apart. borrowed: weights of a file, for a pre-trained encoder.
    """
    frontend = build_frontend(system.frontend, sample_rate)
    windows = _windows(system, sample_rate, seed)
    channels = frontend.channels * (system.windows.copies if system.windows else 1)
    backbone = loss = None
    if system.backbone is not None:
        backbone = build_backbone(system.backbone, channels, frontend.bins, borrowed)
    if system.loss is not None:
        assert backbone is not None
        told_apart = len(machine_of) or num_classes
        if not system.task.may_rest:
            check_classes(told_apart)
        loss = build_loss(system.loss, backbone.embedding_dim, told_apart, norm2d)
    statistics = None if system.statistics is None else Statistics(system.statistics, 1, frontend.plain_bins)
    mixup, machines = system.mixup, tuple(machine_of)
    parts = Parts(frontend, windows, channels, backbone, statistics, loss, mixup, seed, outliers, num_classes, machines)
    task = TASKS[system.task.name](system.task, parts)
    subsample_narrow_strides(task)
    avoid_wrong_bfloat16(task)
    return task


def prepare(task: Task, model: ModelConfig) -> Task:
    """The task with its parts frozen, its maps laid out and its core compiled as the settings say."""
    task.freeze(*frozen_parts(task, model.freeze))
    if model.channels_last:
        task = task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if model.compile != "off":
        _check_compiler(model.compile)
        task.core.compile(mode=model.compile)
    return task


def settle(task: Task, system: System) -> System:
    """What a detector holds of a system: its network learns no more, and needs no file but the detector's own."""
    settled = task.core.settle() if isinstance(task.core, Backbone) else None
    return system if settled is None else system.model_copy(update={"backbone": settled})


def _check_compiler(mode: str) -> None:
    """torch.compile writes C++ for CPUs; Triton, for GPUs, builds a launcher in C. The image has no compiler."""
    named = filter(None, (os.environ.get("CC"), os.environ.get("CXX")))
    if not any(shutil.which(compiler) for compiler in (*named, "gcc", "g++", "clang", "clang++")):
        raise UserError(
            f"model.compile={mode} needs gcc or clang, which is not on the path: install it, or set model.compile=off"
        )


def check_classes(num_classes: int) -> None:
    """UserError where there is nothing to tell apart."""
    if num_classes < 2:
        raise UserError(
            "the set has a single class, and a classifier needs two or more: pack at least two machine IDs together, "
            "or divide its clips (data.pseudo_labels.by=ward)"
        )


def _windows(system: System, sample_rate: int, seed: int) -> Windows | None:
    if system.windows is None:
        return None
    least = system.frontend.samples_for(system.windows.frames) / sample_rate
    return Windows(system.windows, least, seed)
