"""What all ranks must know at every step: stop signals, updates that were not finite, unreadable clips."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from asd.distributed import Ranks
from asd.stop import leave_word


@dataclass(frozen=True)
class Seen:
    """What any rank reported."""

    nonfinite: bool
    stop: bool
    bad_clips: bool


class Flags:
    """One small all-reduce a step, read one step late so that nobody waits for it."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._flags: Tensor | None = None
        self._work: dist.Work | None = None

    def send(self, must_be_finite: Tensor, stop: bool, bad_clips: bool) -> None:
        """Report this rank's state; every rank calls this once a step."""
        told = torch.tensor([stop, bad_clips], dtype=torch.float32, device=self._ranks.device)
        self._flags = torch.cat([(~torch.isfinite(must_be_finite)).float().reshape(1), told])
        if self._ranks.world_size > 1:
            self._work = dist.all_reduce(self._flags, dist.ReduceOp.MAX, async_op=True)

    def receive(self) -> Seen | None:
        """What was sent last, over all ranks; None where nothing is under way."""
        if self._flags is None:
            return None
        if self._work is not None:
            self._work.wait()
        nonfinite, stop, bad_clips = (value > 0 for value in self._flags.tolist())
        self._flags = self._work = None
        if stop:
            leave_word()
        return Seen(nonfinite, stop, bad_clips)
