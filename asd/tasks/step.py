"""What a training step and an embedding pass return. Legend: B batch, D embedding, C classes, M feature bins."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class StepOutput:
    """The scalar to differentiate and detached numbers to show, reduced only when logged."""

    loss: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Embedding:
    """What evaluation keeps of a batch."""

    embedding: Tensor  # (B, D)
    logits: Tensor  # (B, C), no margin
    features: Tensor  # (B, M), time mean of the log-mel that the network sees
    loss: Tensor  # (B,), clean: no margin, no mixing, no smoothing
