"""ArcFace (Deng et al. 2019): an additive angular margin on the target class.

Legend: B batch, C classes, D embedding, c cosine between unit embedding and unit class centre, m margin in radians.
"""

from __future__ import annotations

import math
from typing import Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.losses.base import ClassificationLoss

# The margin's gradient holds 1 / sqrt(1 − c²): in float32 a cosine this close to 1 keeps it finite.
COSINE_LIMIT = 1.0 - 1e-6


class ArcFaceConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Scale and margin (radians) of cosine logits."""

    name: Literal["arcface"] = "arcface"
    scale: pydantic.PositiveFloat = 30.0
    margin: float = pydantic.Field(0.05, ge=0, le=math.pi / 2)
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)


class ArcFace(ClassificationLoss):
    """s·cos(θ + m) on the target, s·cos θ elsewhere; beyond θ = π − m the line s·(c − m·sin(π − m))."""

    def __init__(self, config: ArcFaceConfig, dim: int, classes: int) -> None:
        super().__init__()
        self.config = config
        self.label_smoothing = config.label_smoothing
        self.centres = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, dim)))

    def logits(self, embedding: Tensor) -> Tensor:
        return self.config.scale * F.linear(F.normalize(embedding), F.normalize(self.centres))

    def margin_logits(self, logits: Tensor, classes: Tensor) -> Tensor:
        margin, scale = self.config.margin, self.config.scale
        target = classes[:, None]
        cosine = (logits.gather(1, target) / scale).clamp(-COSINE_LIMIT, COSINE_LIMIT)
        sine = (1.0 - cosine.square()).sqrt()
        shifted = cosine * math.cos(margin) - sine * math.sin(margin)
        beyond = cosine - margin * math.sin(math.pi - margin)
        hard = torch.where(cosine > math.cos(math.pi - margin), shifted, beyond)
        return logits.scatter(1, target, scale * hard)
