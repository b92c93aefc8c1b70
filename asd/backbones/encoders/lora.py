"""Low-rank adaptation (Hu et al. 2022, arXiv 2106.09685): W + (alpha / rank)·B·A, of which A and B alone learn.

Our own rather than the package peft: it is these lines, the tensors keep their names, and a checkpoint is the same
safetensors file as everybody's. Legend: I values in, O values out, r rank.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ADAPTER = ("lora_a", "lora_b")  # ends the names of its tensors


class LoraConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Adapters beside the queries and values of every block that is used."""

    rank: int = pydantic.Field(default=64, ge=1, le=4096)  # r
    alpha: pydantic.PositiveFloat = 8.0  # what an adapter adds is multiplied by alpha / rank; 8: peft's default


class LoraLinear(nn.Linear):
    """A linear layer with an adapter beside it, which adds nothing at first. lora_a (r, I), lora_b (O, r)."""

    def __init__(self, layer: nn.Linear, config: LoraConfig) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.scale = config.alpha / config.rank
        self.lora_a = nn.Parameter(torch.empty(config.rank, layer.in_features))
        self.lora_b = nn.Parameter(torch.zeros(layer.out_features, config.rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + self.scale * F.linear(F.linear(input, self.lora_a), self.lora_b)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain layer that gives the same."""
        weight = self.weight + self.scale * self.lora_b @ self.lora_a
        with torch.device("meta"):
            layer = nn.Linear(self.in_features, self.out_features, self.bias is not None)
        layer.weight, layer.bias = nn.Parameter(weight, requires_grad=False), self.bias
        return layer


def add_adapters(network: nn.Module, names: Collection[str], config: LoraConfig) -> None:
    """Put an adapter beside every linear layer of these names, wherever in the network it is."""
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if name in names and isinstance(layer, nn.Linear):
                setattr(module, name, LoraLinear(layer, config))


def merge_adapters(network: nn.Module) -> None:
    """Fold every adapter into the layer beside it."""
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, LoraLinear):
                setattr(module, name, layer.merged())


def is_adapter(name: str) -> bool:
    """Whether a tensor of this name belongs to an adapter."""
    return name.endswith(ADAPTER)
