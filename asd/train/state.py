"""The state of training that is saved in checkpoints."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass
class TrainState:
    """Everything that changes while training, beside weights and optimiser."""

    step: int = 0
    clips_seen: int = 0
    nonfinite_steps: int = 0
    nonfinite_streak: int = 0

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Self:
        """As a checkpoint holds it; TypeError where something is no count, or of no name."""
        return cls(**{name: operator.index(count) for name, count in saved.items()})
