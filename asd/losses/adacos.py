"""Sub-cluster AdaCos (Wilkinghoff 2021) with a constant scale and centres that learn (Fujimura et al., ICASSP 2025).

Legend: B batch, C classes, K sub-clusters of a class, D embedding, s scale.
"""

from __future__ import annotations

import math
from typing import Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.losses.base import ClassificationLoss, LossSettings


class SubClusterAdaCosConfig(LossSettings, frozen=True):
    """The scale is AdaCos's first one for all sub-clusters (Zhang et al. 2019), √2·ln(C·K − 1), and stays."""

    name: Literal["sub_cluster_adacos"] = "sub_cluster_adacos"
    sub_clusters: int = pydantic.Field(16, ge=2)  # K, centres of a class
    trained: bool = True  # false: the centres stay where they were drawn


class SubClusterAdaCos(ClassificationLoss):
    """−log of a class's probability, the sum over its K of softmax(s·cos) over all C·K centres."""

    label_smoothing = 0.0
    by_class = "centres"

    def __init__(self, config: SubClusterAdaCosConfig, dim: int, classes: int) -> None:
        super().__init__()
        self.sub_clusters = config.sub_clusters
        count = classes * config.sub_clusters
        self.sharpness = math.sqrt(2) * math.log(count - 1)  # s; the logits themselves are no scaled cosines
        centres = nn.init.xavier_uniform_(torch.empty(count, dim))
        self.centres = nn.Parameter(centres, requires_grad=config.trained)

    def logits(self, embedding: Tensor) -> Tensor:
        """(B, D) → (B, C), log of the sum over sub-clusters of exp(s·cos): their softmax are the classes' shares."""
        cosines = F.linear(F.normalize(embedding), F.normalize(self.centres))
        return (self.sharpness * cosines).unflatten(1, (-1, self.sub_clusters)).logsumexp(2)
