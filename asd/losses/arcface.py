"""ArcFace (Deng et al. 2019): an additive angular margin on the target class; with mixup ArcMix, Noisy-ArcMix
(Choi & Choi 2024, arXiv 2310.06364) or guided mixup (Choi & Choi, INTER-NOISE 2024).

Legend: B batch, c cosine between unit embedding and unit class centre, m margin in radians.
"""

from __future__ import annotations

import math
from typing import Literal

import pydantic
import torch
from torch import Tensor

from asd.losses.cosine import CosineConfig, CosineLoss

# The margin's gradient holds 1 / sqrt(1 − c²): in float32 a cosine this close to 1 keeps it finite.
COSINE_LIMIT = 1.0 - 1e-6


class ArcFaceConfig(CosineConfig, frozen=True):
    """Scale and margin (radians) of cosine logits."""

    name: Literal["arcface"] = "arcface"
    margin: float = pydantic.Field(0.05, ge=0, le=math.pi / 2)  # radians


class ArcFace(CosineLoss):
    """s·cos(θ + m) on the target, s·cos θ elsewhere; beyond θ = π − m the line s·(c − m·sin(π − m))."""

    def __init__(self, config: ArcFaceConfig, dim: int, classes: int) -> None:
        super().__init__(config, dim, classes)
        self.margin = config.margin

    def apply_margin(self, cosine: Tensor) -> Tensor:
        """(B, 1) c → cos(θ + m), or the line beyond π − m."""
        cosine = cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT)
        sine = (1.0 - cosine.square()).sqrt()
        shifted = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = cosine - self.margin * math.sin(math.pi - self.margin)
        return torch.where(cosine > math.cos(math.pi - self.margin), shifted, beyond)
