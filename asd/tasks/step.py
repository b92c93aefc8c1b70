"""What a training step and an embedding pass return.

Legend: B batch, P windows of a clip (1 where a clip is taken whole), D embedding, C classes, M feature bins.
"""

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

    embedding: Tensor  # (B, P, D)
    logits: Tensor  # (B, P, C), no margin; C = 0 where no classes are told apart
    errors: Tensor  # (B, 3) reconstruction errors as asd.scorers.embeddings.ERRORS says, (B, 0) where there are none
    features: Tensor  # (B, M), time mean of the spectrogram that the network sees
    loss: Tensor  # (B,), of held-out clips: no mixing, no smoothing; nan where a task has no loss for a single clip
    residuals: Tensor | None = None  # (B, R, M): what is left of every frame where spectrograms are rebuilt
