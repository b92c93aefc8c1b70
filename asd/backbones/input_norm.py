"""Normalisation of spectrograms in front of a network (S3). Legend: B batch, C channels, M mel bins, F frames.

Here, not in the frontend: its statistics are those of the batch, so it takes the network's `norm` (batch, sync).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from asd.backbones.norms import NormKind, norm2d

# batch: one mean and deviation of all values, BatchNorm2d(1); mel: one pair for each mel bin; both with learned affine.
InputNorm = Literal["none", "batch", "mel"]


def input_norm(kind: InputNorm, norm: NormKind, channels: int, bins: int) -> nn.Module:
    """(B, C, M, F) → the same shape."""
    if kind == "none":
        return nn.Identity()
    return PerBin(norm, channels, bins) if kind == "mel" else norm2d(norm, channels)


class PerBin(nn.Module):
    """Each mel bin its own mean and deviation, over clips and frames.

    The published option fits them in a pass over the training set and then fixes them or lets them learn; here they
    are batch statistics in training and running ones in evaluation, which needs no such pass.
    """

    def __init__(self, norm: NormKind, channels: int, bins: int) -> None:
        super().__init__()
        self.norm = norm2d(norm, channels * bins)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, M, F) → the same shape."""
        return self.norm(x.flatten(1, 2).unsqueeze(2)).reshape(x.shape)
