"""Normalisation layers that mean the same on one rank and on many. Legend: B batch, C channels."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules._functions import SyncBatchNorm as SyncOnCuda
from torch.nn.modules.batchnorm import _BatchNorm

# batch: each rank's own statistics; sync: those of the global batch; group: no batch statistics at all.
NormKind = Literal["batch", "sync", "group"]

GROUPS = 32
# Least channels of a group: two values without further axes would be normalised to exactly ±1, whatever they were.
MAP_CHANNELS, VECTOR_CHANNELS = 2, 16


def norm2d(kind: NormKind, channels: int, affine: bool = True) -> nn.Module:
    """Normalisation of (B, C, height, width) maps; affine: learned scale and shift."""
    if kind == "group":
        return nn.GroupNorm(_groups(channels, MAP_CHANNELS), channels, affine=affine)
    kept = SyncBatchNorm if kind == "sync" else nn.BatchNorm2d
    return kept(channels, affine=affine)


def norm1d(kind: NormKind, features: int, affine: bool = True) -> nn.Module:
    """Normalisation of (B, C) vectors; affine: learned scale and shift."""
    if kind == "group":
        return nn.GroupNorm(_groups(features, VECTOR_CHANNELS), features, affine=affine)
    kept = SyncBatchNorm if kind == "sync" else nn.BatchNorm1d
    return kept(features, affine=affine)


def _groups(channels: int, least: int) -> int:
    """The most groups up to 32 that divide the channels into groups of at least `least`."""
    return max(g for g in range(1, GROUPS + 1) if channels % g == 0 and (channels // g >= least or g == 1))


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation with the statistics of the global batch, on CPU as well as on CUDA.

    torch's own class refuses CPU tensors, and DDP refuses it in a CPU module. There the mean and the centred squares
    are summed over ranks by an all-reduce whose gradient is an all-reduce too (two passes: E[x²] − E[x]² cancels for
    inputs in decibels).
    """

    def forward(self, input: Tensor) -> Tensor:
        statistics = (self.running_mean, self.running_var)
        weights, momentum = (self.weight, self.bias), self.momentum or 0.0
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return F.batch_norm(input, *statistics, *weights, self.training, momentum, self.eps)
        if input.is_cuda:
            world = (dist.group.WORLD, dist.get_world_size())
            return SyncOnCuda.apply(input, *weights, *statistics, self.eps, momentum, *world)
        return self._across_ranks(input.float()).to(input.dtype)

    def _across_ranks(self, x: Tensor) -> Tensor:
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = dist.get_world_size() * x.numel() // x.shape[1]
        mean = _sum_over_ranks(x.sum(dims)) / count
        centred = x - mean.view(shape)
        variance = _sum_over_ranks(centred.square().sum(dims)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps)
        if not self.affine:
            return centred * scale.view(shape)
        return centred * (scale * self.weight).view(shape) + self.bias.view(shape)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)


class _AllReduceSum(torch.autograd.Function):
    """Sum over ranks; the gradient of every rank's input is the sum of the gradients of all ranks' outputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


def _sum_over_ranks(x: Tensor) -> Tensor:
    return _AllReduceSum.apply(x)
