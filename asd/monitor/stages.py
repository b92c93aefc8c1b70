"""The stage of a rank. The loop sets it by one assignment; the watchdog reads it once a second."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """In the order of a turn of the loop: of two ranks at the same step, the one in an earlier stage is behind."""

    START = "starting"
    SHOW = "logging"
    SAVE = "saving"
    EVALUATE = "evaluating"
    DATA = "waiting for data"
    FLAGS = "syncing ranks"  # waiting for the last one to have its clips
    STEP = "forward and backward"  # with the exchange of gradients
    SCORE = "waiting for scores"


ORDER = {stage: place for place, stage in enumerate(Stage)}


@dataclass(frozen=True)
class Position:
    """How far a rank is; whatever changes is progress."""

    step: int = 0
    stage: Stage = Stage.START
    batches: int = 0  # of evaluations, so far
    waits: bool = False  # an evaluation, for data

    @property
    def words(self) -> str:
        return self.stage.value + (f", {Stage.DATA.value}" if self.waits else "")

    @property
    def order(self) -> tuple[int, int, bool]:
        """Of several ranks, the first is the one that the others wait for."""
        return self.step, ORDER[self.stage], not self.waits
