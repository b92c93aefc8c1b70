"""Running statistics of BatchNorm layers, copied and put back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asd.train.batchnorm import RunningStatistics


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3), nn.ReLU(), nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4))


@pytest.mark.parametrize("spoiled", [True, False])
def test_a_step_that_is_skipped_leaves_them_as_they_were(spoiled: bool) -> None:
    module = network()
    statistics = RunningStatistics(module.named_buffers())
    module(torch.randn(5, 2, 7))
    former = statistics.copy()
    assert len(former) == 2 * (3 + 4)
    module(torch.full((5, 2, 7), torch.nan if spoiled else 3.0))
    after = statistics.copy()
    statistics.restore(former, where=~torch.isfinite(after.sum()))
    assert torch.equal(statistics.copy(), former if spoiled else after)
    assert module[1].running_mean.isfinite().all()  # type: ignore[operator, union-attr]


def test_a_network_without_them_has_nothing_to_keep() -> None:
    statistics = RunningStatistics(nn.Linear(2, 2).named_buffers())
    statistics.restore(statistics.copy(), where=torch.tensor(True))
    assert len(statistics.copy()) == 0
