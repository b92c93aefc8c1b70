"""Embedding and targets → loss per clip. Each loss owns its class centres."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pydantic
from torch import nn

from asd.losses.arcface import ArcFace, ArcFaceConfig
from asd.losses.base import ClassificationLoss
from asd.losses.cosface import CosFace, CosFaceConfig
from asd.losses.softmax import Focal, FocalConfig, MapSoftmax, Softmax, SoftmaxConfig

LOSSES: dict[str, Any] = {"softmax": Softmax, "focal": Focal, "cosface": CosFace, "arcface": ArcFace}

LossConfig = Annotated[
    SoftmaxConfig | FocalConfig | CosFaceConfig | ArcFaceConfig, pydantic.Field(discriminator="name")
]


def build_loss(
    config: LossConfig, dim: int, classes: int, map_norm: Callable[[int], nn.Module] | None = None
) -> ClassificationLoss:
    """The loss that a config names, with its class centres; map_norm: the layer of S3's head, by its channels."""
    if isinstance(config, SoftmaxConfig) and config.norm is not None:
        assert map_norm is not None
        return MapSoftmax(config, dim, classes, map_norm)
    loss: ClassificationLoss = LOSSES[config.name](config, dim, classes)
    return loss
