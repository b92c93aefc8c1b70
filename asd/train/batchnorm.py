"""Running statistics of BatchNorm layers: each rank has its own, and a forward pass that overflows spoils them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from asd.distributed.ranks import Ranks


class RunningStatistics:
    """Those of BatchNorm layers, S numbers in all."""

    def __init__(self, named: Iterable[tuple[str, Tensor]]) -> None:
        """named: tensors of a module, of which those count that are running statistics by their names."""
        self._buffers = list(self.among(named).values())

    @staticmethod
    def among(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """Those of named tensors that are running statistics."""
        return {name: tensor for name, tensor in named if name.endswith(("running_mean", "running_var"))}

    def copy(self) -> Tensor:
        """All of them as they are now, (S,)."""
        return torch.cat([b.flatten() for b in self._buffers]) if self._buffers else torch.empty(0)

    def restore(self, former: Tensor, where: Tensor) -> None:
        """Put copied ones (S,) back if `where`, a boolean scalar, is true; the device decides, nobody waits for it."""
        if self._buffers:
            self._set(torch.where(where, former, self.copy()))

    def average(self, ranks: Ranks) -> None:
        """Give every rank the mean of all ranks' statistics, which drift apart while training."""
        if self._buffers and ranks.world_size > 1:
            self._set(ranks.mean(self.copy()))

    def _set(self, joined: Tensor) -> None:
        pieces = joined.split([b.numel() for b in self._buffers])
        torch._foreach_copy_(self._buffers, [p.view_as(b) for p, b in zip(pieces, self._buffers, strict=True)])
