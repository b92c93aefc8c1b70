"""What a trainer is given."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from asd.data.loader import BatchSource
from asd.data.plan import Plan
from asd.distributed.ranks import Ranks
from asd.loggers.base import Loggers
from asd.optim.build import MaskedOptimizer
from asd.process.stop import StopSignal


class Evaluate(Protocol):
    """Scores the model at a step; knows which checkpoints must stay."""

    def __call__(self, task: nn.Module, step: int, epoch: float) -> None: ...

    def due(self, step: int) -> bool: ...

    def missing(self, step: int) -> bool: ...

    def protected_steps(self) -> Collection[int]: ...


@dataclass(frozen=True)
class Parts:
    """What a trainer is put together from."""

    task: nn.Module  # on the ranks' device, and was when the optimiser was made
    optimizer: MaskedOptimizer
    loader: BatchSource
    plan: Plan
    crop: int  # samples
    max_bad_clips: int
    ranks: Ranks
    loggers: Loggers
    stop: StopSignal
    evaluate: Evaluate
    checkpoints: Path
    profile: Path  # folder of traces
    meta: dict[str, Any]  # goes into every checkpoint's meta.json
    config_yaml: str
    first: int | None = None  # samples of each clip within which crops lie; None: anywhere
