"""The expander of VICReg, between the encoder and its loss; only pre-training needs it. B batch, D embedding."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from torch import Tensor, nn

from asd.backbones.norms import NormKind, norm1d


class ExpanderConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Fully connected layers of S5.

    output: norm_relu, each layer has its normalisation and ReLU, the last one too, as the EPFL report says; linear, the
    last one has neither, as VICReg (Bardes et al. 2022).
    """

    # units of each layer
    widths: Annotated[tuple[pydantic.PositiveInt, ...], pydantic.Field(min_length=1)] = (1280, 1280, 1280)
    output: Literal["norm_relu", "linear"] = "norm_relu"
    norm: NormKind = "batch"  # sync: statistics of the global batch


class Expander(nn.Sequential):
    """(B, D) → (B, last width). No biases: a normalisation follows, or VICReg's last layer, which has none."""

    def __init__(self, config: ExpanderConfig, dim: int) -> None:
        layers: list[nn.Module] = []
        for before, width in zip((dim, *config.widths), config.widths, strict=False):
            layers += [nn.Linear(before, width, bias=False), norm1d(config.norm, width), nn.ReLU()]
        super().__init__(*(layers[:-2] if config.output == "linear" else layers))
        self.embedding_dim = config.widths[-1]

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, D) → (B, last width)."""
        return super().forward(embedding)
