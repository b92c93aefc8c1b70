"""Collective operations, and how the loss of another rank is detected."""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

LOST_BY_GLOO = re.compile(r"(Gloo \w+ failed with )?\[\S*gloo/transport/\S+:\d+\] ")
LOST_BY_NCCL = re.compile(
    r"ncclRemoteError|timed? ?out|abort|connection (closed|refused|reset)|closed by", re.IGNORECASE
)


def gather(rows: Tensor) -> Tensor:
    """Rows (n, …) of all ranks, equally many of each, in rank order, on every rank; without gradient."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def gather_with_gradient(rows: Tensor) -> Tensor:
    """The same with gradient: a loss that every rank computes on all rows teaches each rank by its own ones.

    Each rank receives the sum of all ranks' gradients, of which DDP takes the mean: that of one loss.
    """
    return rows if not dist.is_initialized() or dist.get_world_size() == 1 else _GatherWithGradient.apply(rows)


class _GatherWithGradient(torch.autograd.Function):
    """torch's own (torch.distributed.nn.functional.all_gather) is on its way out and says so on every rank."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return gather(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].float().contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()].to(grads[0].dtype)


def is_peer_failure(error: RuntimeError) -> bool:
    """Whether a collective failed because another rank went away, or could not be reached in time.

    gloo raises a plain RuntimeError that begins with the place in its transport; a failed assertion of gloo's, or
    NCCL's own trouble on this node, keeps its traceback.
    """
    if isinstance(error, dist.DistBackendError):
        return LOST_BY_NCCL.search(str(error)) is not None
    return isinstance(error, dist.DistNetworkError | dist.DistStoreError) or LOST_BY_GLOO.match(str(error)) is not None
