"""Workaround for faults of torch's convolutions in bfloat16 on CPUs: those that would be wrong compute in float32.

Found by 20,000 convolutions of random shapes, beside torch 2.13 without oneDNN. Where a stride leaves one column, the
gradient of the weights reads memory that nobody wrote, and with AMX tiles the output does too. With AMX convolutions in
one dimension are wrong from eight taps on, and dilated ones may crash. All others were right.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


def avoid_wrong_bfloat16(network: nn.Module) -> None:
    """Take these convolutions out of autocast on CPUs; on other devices and in float32 nothing changes."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            module.__class__ = _guarded(type(module))  # type: ignore[assignment, arg-type]


@cache
def _guarded(kind: type[nn.Module]) -> type[nn.Module]:
    """The same kind of convolution (one with a normalised weight has a class of its own) with the exception."""
    return kind if issubclass(kind, _OutOfAutocast) else type(kind.__name__, (_OutOfAutocast, kind), {})


class _OutOfAutocast:
    def forward(self, input: Tensor) -> Tensor:
        """(B, C, …) → (B, C', …)."""
        convolve: Any = super()
        if input.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or not _would_be_wrong(self, input):
            return convolve.forward(input)
        with torch.autocast("cpu", enabled=False):
            return convolve.forward(input.float()).to(torch.get_autocast_dtype("cpu"))


def _would_be_wrong(conv: Any, input: Tensor) -> bool:
    if isinstance(conv, nn.Conv1d) or set(conv.dilation) != {1}:
        return True
    stride = conv.stride[-1]
    return stride > 1 and input.shape[-1] + 2 * conv.padding[-1] < conv.kernel_size[-1] + stride
