"""CosFace (Wang et al. 2018): a margin on the target's cosine itself. Legend: B batch, c cosine, m margin."""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor

from asd.losses.cosine import CosineConfig, CosineLoss


class CosFaceConfig(CosineConfig, frozen=True):
    """Scale and margin (of the cosine) of cosine logits."""

    name: Literal["cosface"] = "cosface"
    margin: float = pydantic.Field(0.05, ge=0, le=2)  # taken from the cosine


class CosFace(CosineLoss):
    """s·(c − m) on the target, s·c elsewhere."""

    def __init__(self, config: CosFaceConfig, dim: int, classes: int) -> None:
        super().__init__(config, dim, classes)
        self.margin = config.margin

    def apply_margin(self, cosine: Tensor) -> Tensor:
        """(B, 1) c → c − m."""
        return cosine - self.margin
