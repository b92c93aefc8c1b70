"""Freezing parts of a network."""

from __future__ import annotations

from torch import nn

from asd.errors import UserError
from asd.tasks.base import Task
from asd.tasks.classification import Classifier
from asd.tasks.model import Freeze


def frozen_parts(task: Task, freeze: Freeze) -> tuple[nn.Module, ...]:
    """The modules of a task that a strategy names; UserError where no class centres are there, or none learn."""
    if freeze == "none":
        return ()
    if not isinstance(task, Classifier):
        raise UserError(f"model.freeze={freeze} is for tasks with class centres: set it to none")
    if freeze == "centres":
        return (task.loss,)
    backbone = task.encoder.backbone
    if freeze == "all_but_centres":
        if not any(p.requires_grad for p in task.loss.parameters()):
            raise UserError(
                "model.freeze=all_but_centres leaves nothing to train with loss.trained=false: set it to true"
            )
        return (task.encoder.frontend, backbone)
    return (task.encoder.frontend, *backbone.before_last_block())
