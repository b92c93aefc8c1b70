"""Embedding and targets → loss per clip. Each loss owns its class centres."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from asd.losses.arcface import ArcFace, ArcFaceConfig
from asd.losses.base import ClassificationLoss
from asd.losses.cosface import CosFace, CosFaceConfig
from asd.losses.softmax import Focal, FocalConfig, Softmax, SoftmaxConfig

LOSSES: dict[str, Any] = {"softmax": Softmax, "focal": Focal, "cosface": CosFace, "arcface": ArcFace}

LossConfig = Annotated[
    SoftmaxConfig | FocalConfig | CosFaceConfig | ArcFaceConfig, pydantic.Field(discriminator="name")
]


def build_loss(config: LossConfig, dim: int, classes: int) -> ClassificationLoss:
    """The loss that a config names, with its class centres."""
    loss: ClassificationLoss = LOSSES[config.name](config, dim, classes)
    return loss
