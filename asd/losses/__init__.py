"""Embedding and targets → loss per clip. Each loss owns its class centres."""

from __future__ import annotations

from typing import Annotated

import pydantic

from asd.losses.arcface import ArcFace, ArcFaceConfig
from asd.losses.base import ClassificationLoss
from asd.losses.softmax import Softmax, SoftmaxConfig

LOSSES: dict[str, type[ClassificationLoss]] = {"softmax": Softmax, "arcface": ArcFace}

LossConfig = Annotated[SoftmaxConfig | ArcFaceConfig, pydantic.Field(discriminator="name")]


def build_loss(config: SoftmaxConfig | ArcFaceConfig, dim: int, classes: int) -> ClassificationLoss:
    """The loss that a config names, with its class centres."""
    return LOSSES[config.name](config, dim, classes)
