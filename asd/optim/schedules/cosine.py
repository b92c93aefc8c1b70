"""Linear warm-up, then half a cosine."""

from __future__ import annotations

import math
from typing import Literal

import pydantic

from asd.optim.schedules.base import WithWarmUp, rise


class CosineConfig(WithWarmUp, frozen=True):
    """Linear warm-up, then half a cosine down to lr·floor at the last step."""

    name: Literal["cosine"] = "cosine"
    floor: float = pydantic.Field(0.0, ge=0, le=1)  # of the peak learning rate

    def factor(self, epoch: float, total_epochs: float) -> float:
        return cycle(epoch, self.warmup_epochs, total_epochs, self.floor)


def cycle(epoch: float, warmup: float, length: float, floor: float) -> float:
    """Linear from 0 to 1 over warmup, then a cosine from 1 to floor until length."""
    if epoch < warmup:
        return rise(epoch, warmup)
    progress = min(1.0, (epoch - warmup) / max(length - warmup, 1e-9))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
