"""Workaround for a fault of torch's strided convolutions on CPUs, with the same results."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

SIMD = 8  # float32 values of an AVX2 register


def subsample_narrow_strides(network: nn.Module) -> None:
    """Let 1x1 convolutions that have a stride and fewer than eight input channels see only the positions that count.

    The same numbers from the same weights. In channels_last on processors without AVX-512, oneDNN of torch 2.13 gets
    their weights' gradient wrong and writes beyond its memory (tests/backbones/test_convolutions.py
    scans them: eight channels and more, larger kernels, and forward passes are right).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and is_narrow_stride(module):
            module.register_forward_pre_hook(partial(_every, module.stride))
            module.stride = (1, 1)


def is_narrow_stride(conv: nn.Conv2d) -> bool:
    """Whether a convolution is one of those."""
    return set(conv.kernel_size) == {1} and set(conv.stride) != {1} and conv.in_channels // conv.groups < SIMD


def _every(stride: tuple[int, ...], conv: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
    (maps,) = inputs
    return (maps[..., :: stride[0], :: stride[1]],)
