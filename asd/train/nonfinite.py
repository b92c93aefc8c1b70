"""Counts non-finite steps on the device, without synchronisation until the counts are read."""

from __future__ import annotations

import torch
from torch import Tensor

from asd.distributed.collectives import gather


class NonfiniteSteps:
    """All of a run, those in a row up to now, and the longest row since the start."""

    def __init__(self, total: int, streak: int, device: torch.device) -> None:
        self._total, self._streak, self._longest = torch.tensor([total, streak, streak], device=device)

    def add(self, nonfinite: Tensor) -> None:
        """Count a step by a boolean scalar."""
        self._total = self._total + nonfinite
        self._streak = (self._streak + 1) * nonfinite
        self._longest = torch.maximum(self._longest, self._streak)

    def read(self) -> tuple[int, int, int]:
        """Total, present and longest row, of the rank where they are largest. One collective."""
        own = torch.stack([self._total, self._streak, self._longest])
        total, streak, longest = gather(own[None]).amax(0).tolist()
        return total, streak, longest
