"""What a step that is not finite must not leave behind in a network's buffers."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor, nn


class RunningStatistics:
    """The BatchNorm statistics of before each step that is not known to be finite yet: an overflow spoils them."""

    def __init__(self, module: nn.Module) -> None:
        self._statistics = [b for name, b in module.named_buffers() if name.endswith(("running_mean", "running_var"))]
        self._former: deque[Tensor] = deque()

    def remember(self) -> None:
        """Copy them (one launch) before a step."""
        if self._statistics:
            self._former.append(torch.cat([s.flatten() for s in self._statistics]))

    def settle(self, spoiled: bool) -> None:
        """The oldest step that is remembered is known now: forget its copy, or put it back, for later steps as well."""
        if not self._statistics:
            return
        former = self._former.popleft()
        if spoiled:
            self._former = deque(former for _ in self._former)
            for own, part in zip(self._statistics, former.split([s.numel() for s in self._statistics]), strict=True):
                own.copy_(part.view_as(own))
