"""What a step changes beside weights and optimiser, and what must be as before where the step does not count."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asd.distributed.ranks import Ranks


class Remembered:
    """Tensors as they are now, and as they were before each step that is not known to count yet."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._former: deque[Tensor] = deque()

    def remember(self) -> None:
        """Copy them (one launch) before a step."""
        if self._tensors:
            self._former.append(self._joined())

    def settle(self, spoiled: bool) -> None:
        """The oldest step that is remembered is known now: forget its copy, or put it back, for later steps as well."""
        if not self._tensors:
            return
        former = self._former.popleft()
        if spoiled:
            self._former = deque(former for _ in self._former)
            self._put_back(former)

    def _joined(self) -> Tensor:
        return torch.cat([s.flatten() for s in self._tensors])

    def _put_back(self, joined: Tensor) -> None:
        for own, part in zip(self._tensors, joined.split([s.numel() for s in self._tensors]), strict=True):
            own.copy_(part.view_as(own))


class RunningStatistics(Remembered):
    """Those of the BatchNorm layers in training: ranks drift apart in them, and an overflow spoils them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__([b for name, b in module.named_buffers() if name.endswith(("running_mean", "running_var"))])

    def average(self, ranks: Ranks) -> None:
        """Give every rank the mean of all ranks' statistics, which drift apart while training."""
        if self._tensors and ranks.world_size > 1:
            self._put_back(ranks.mean(self._joined()))


def loss_scale(scaler: torch.amp.GradScaler | None, device: torch.device) -> Remembered:
    """The fp16 scale and the count of sound steps since it last changed; nothing where there is no scaler.

    A step that is not finite changes them, rightly; one that a missing batch spoiled says nothing about the scale.
    """
    if scaler is None:
        return Remembered([])
    scaler.scale(torch.zeros((), device=device))  # puts both on the device
    return Remembered([scaler._scale, scaler._growth_tracker])  # type: ignore[list-item]  # asking would wait
