"""The BatchNorm statistics of a network in training: ranks drift apart in them, and an overflow spoils them."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor, nn

from asd.distributed import Ranks


class RunningStatistics:
    """Those of now, and of before each step that is not known to be finite yet."""

    def __init__(self, module: nn.Module) -> None:
        self._statistics = [b for name, b in module.named_buffers() if name.endswith(("running_mean", "running_var"))]
        self._former: deque[Tensor] = deque()

    def remember(self) -> None:
        """Copy them (one launch) before a step."""
        if self._statistics:
            self._former.append(self._joined())

    def settle(self, spoiled: bool) -> None:
        """The oldest step that is remembered is known now: forget its copy, or put it back, for later steps as well."""
        if not self._statistics:
            return
        former = self._former.popleft()
        if spoiled:
            self._former = deque(former for _ in self._former)
            self._put_back(former)

    def average(self, ranks: Ranks) -> None:
        """Give every rank the mean of all ranks' statistics, which drift apart while training."""
        if self._statistics and ranks.world_size > 1:
            self._put_back(ranks.mean(self._joined()))

    def _joined(self) -> Tensor:
        return torch.cat([s.flatten() for s in self._statistics])

    def _put_back(self, joined: Tensor) -> None:
        for own, part in zip(self._statistics, joined.split([s.numel() for s in self._statistics]), strict=True):
            own.copy_(part.view_as(own))
