"""Embedding and targets → loss per clip. Each loss owns its class centres."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pydantic

from asd.losses.adacos import SubClusterAdaCos, SubClusterAdaCosConfig
from asd.losses.arcface import ArcFace, ArcFaceConfig
from asd.losses.base import ClassificationLoss, MapNorm
from asd.losses.cosface import CosFace, CosFaceConfig
from asd.losses.softmax import Focal, FocalConfig, MapSoftmax, Softmax, SoftmaxConfig

LOSSES: dict[str, Callable[[Any, int, int], ClassificationLoss]] = {
    "softmax": Softmax,
    "focal": Focal,
    "cosface": CosFace,
    "arcface": ArcFace,
    "sub_cluster_adacos": SubClusterAdaCos,
}
OF_MAPS: dict[str, Callable[[Any, int, int, MapNorm], ClassificationLoss]] = {"softmax": MapSoftmax}

LossConfig = Annotated[
    SoftmaxConfig | FocalConfig | CosFaceConfig | ArcFaceConfig | SubClusterAdaCosConfig,
    pydantic.Field(discriminator="name"),
]


def build_loss(config: LossConfig, dim: int, classes: int, norm: MapNorm | None = None) -> ClassificationLoss:
    """The loss that a config names, with its class centres; norm: the layers for losses that learn from maps."""
    if config.takes_maps:
        assert norm is not None
        return OF_MAPS[config.name](config, dim, classes, norm)
    return LOSSES[config.name](config, dim, classes)
