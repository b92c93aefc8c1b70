"""What changes while a run trains, and is saved with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TrainState:
    """Everything that changes while training, beside weights and optimiser."""

    step: int = 0
    clips_seen: int = 0
    nonfinite_steps: int = 0
    nonfinite_streak: int = 0
