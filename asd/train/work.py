"""Arithmetic of a training step, and the share of a card's that it is (model FLOPs utilisation, MFU)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

TERA = 1e12
BACKWARD_OF_ATTENTION = 2.5  # five products for two, one of them taken anew
# Dense TFLOP/s of products by the makers' data sheets; float32 in TF32, as in cuDNN's convolutions, where there is one
CARDS = {  # part of torch's name of a card: (16 bit, float32)
    "B200": (2250.0, 1100.0),
    "H200": (989.0, 494.0),
    "H100 PCIe": (756.0, 378.0),
    "H100": (989.0, 494.0),
    "A100": (312.0, 156.0),
    "L40S": (362.0, 183.0),
    "A10G": (70.0, 35.0),
    "A40": (150.0, 75.0),
    "RTX 4090": (165.0, 82.6),
    "RTX 3090": (71.0, 35.6),
    "V100": (125.0, 15.7),
    "T4": (65.0, 8.1),
}

_aten = torch.ops.aten
KNOWN_AS = {  # kernels that torch's counter does not know → those of the same arguments
    _aten._scaled_dot_product_flash_attention_for_cpu: _aten._scaled_dot_product_flash_attention,
}


class Products(TorchDispatchMode):
    """Counts the floating-point operations of convolutions, matrix products and attention of a forward pass that runs
    inside, and those that its gradients will take: a product as large for each factor that needs one.

    Not the backward pass itself: watched like this, it leaves gradients in layouts that DDP does not expect.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.flops += _passes(func, args) * products(func, args, kwargs or {}, out)
        return out


def _passes(func: Any, args: Any) -> float:
    """Of forward and backward pass together, in forward passes."""
    factors = [x for x in args if isinstance(x, torch.Tensor) and x.dim() > 1]  # a bias is none
    learnt = sum(x.requires_grad for x in factors) if torch.is_grad_enabled() else 0
    if "attention" in str(func):
        return 1 + (BACKWARD_OF_ATTENTION if learnt else 0)
    return 1 + learnt


def products(func: Any, args: Any, kwargs: Any, out: Any) -> float:
    """Floating-point operations of a convolution, matrix product or attention; 0 of anything else.

    Gradients of convolutions are those that are asked for, each as many as the forward pass takes: torch's own counter
    takes depth-wise ones for dense, up to 14 times too many.
    """
    kernel = func.overloadpacket
    if kernel is _aten.convolution_backward:
        grad, weight, transposed, wanted = args[0], args[2], args[7], sum(args[-1][:2])
        return 2.0 * wanted * (args[1] if transposed else grad).numel() * math.prod(weight.shape[1:])
    count = flop_registry.get(KNOWN_AS.get(kernel, kernel))
    return 0.0 if count is None else float(count(*args, **kwargs, out_val=out))


class StepWork:
    """What a clip costs, counted in the first forward pass of the process; nothing of a compiled network, whose
    kernels cannot be looked into."""

    def __init__(self, task: nn.Module, device: torch.device, precision: str) -> None:
        self._compiled = any(module._compiled_call_impl is not None for module in task.modules())
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        self._peak = peak_flops(name, precision)
        self._per_clip: float | None = None

    @contextmanager
    def counting(self, clips: int) -> Iterator[None]:
        """Around a forward pass on so many clips."""
        if self._per_clip is not None or self._compiled:
            yield
            return
        with Products() as products:
            yield
        self._per_clip = products.flops / clips

    def record(self, clips_per_s: float, cards: int) -> dict[str, float]:
        """Achieved TFLOP/s of all ranks, and percent of their cards' where these are known."""
        if self._per_clip is None:
            return {}
        flops = self._per_clip * clips_per_s
        used = {} if self._peak is None else {"mfu_percent": 100 * flops / (cards * self._peak)}
        return {"tflop_per_s": flops / TERA, **used}


def peak_flops(card: str, precision: str) -> float | None:
    """FLOP/s of a card by torch's name of it, in fp32, bf16 or fp16; None of an unknown one."""
    found = next((speeds for name, speeds in CARDS.items() if name in card), None)
    return None if found is None else TERA * found[precision == "fp32"]
