"""An exponential moving average of the weights, evaluated in their place: it moves less from step to step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from asd.distributed.ranks import Ranks
from asd.train.batchnorm import RunningStatistics


class AveragedWeights:
    """Averages of a module's weights that learn and of its running statistics of BatchNorm, by their names.

    Step t, from 0, moves each by (1 - d)·(weight - average), d = min(decay, (1 + t) / (10 + t)): the rule of
    TensorFlow's ExponentialMovingAverage with num_updates, which soon forgets the weights that training began with.
    The statistics are averaged like the weights, as they describe what these make of the clips; those of the newest
    weights would fit other activations than the averaged ones give.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        weights = {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}
        self._live = weights | RunningStatistics.among(module.named_buffers())
        self.tensors = {name: tensor.clone() for name, tensor in self._live.items()}
        self._statistics = RunningStatistics(self.tensors.items())

    def update(self, step: int, skipped: Tensor) -> None:
        """Take in the weights behind a step; a boolean scalar that is true leaves all as it is. Nobody waits for it."""
        decay = min(self._decay, (1 + step) / (10 + step))
        change = torch._foreach_sub(list(self._live.values()), list(self.tensors.values()))
        torch._foreach_mul_(change, ~skipped * (1 - decay))
        torch._foreach_add_(list(self.tensors.values()), change)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the module has the averages in place of what they are averages of."""
        live = list(self._live.values())
        kept = [tensor.clone() for tensor in live]
        torch._foreach_copy_(live, list(self.tensors.values()))
        try:
            yield
        finally:
            torch._foreach_copy_(live, kept)

    def average_statistics(self, ranks: Ranks) -> None:
        """Give every rank the mean of all ranks' statistics; the weights are the same on all."""
        self._statistics.average(ranks)

    def restore(self, saved: Mapping[str, Tensor] | None) -> None:
        """Go on from saved averages, or from the module's weights where there are none.

        Raises ValueError where they are of other weights.
        """
        found = self._live if saved is None else saved
        if {n: t.shape for n, t in found.items()} != {n: t.shape for n, t in self.tensors.items()}:
            raise ValueError("its averaged weights are those of another network")
        for name, tensor in self.tensors.items():
            tensor.copy_(found[name])
