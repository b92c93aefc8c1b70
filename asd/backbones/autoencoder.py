"""DCASE's autoencoder baseline: stacked log-mel frames through eight values and back (S6).

Legend: B batch, C channels, M mel bins, F frames of a window.
"""

from __future__ import annotations

import itertools
from typing import Annotated, ClassVar, Literal

import pydantic
from torch import Tensor, nn

from asd.backbones.base import Reconstructor, ReconstructorSettings
from asd.backbones.norms import NormKind, norm1d


class AutoencoderConfig(ReconstructorSettings, frozen=True):
    """Windows of five frames; 269,992 values with 128 mel bins, of which 2,064 are running statistics."""

    needs_windows: ClassVar[bool] = True

    name: Literal["autoencoder"] = "autoencoder"
    frames: pydantic.PositiveInt = 5  # of every window
    # units of each layer on both sides of the bottleneck
    hidden: Annotated[tuple[pydantic.PositiveInt, ...], pydantic.Field(min_length=1)] = (128, 128, 128, 128)
    bottleneck: pydantic.PositiveInt = 8  # units of the narrowest layer
    norm: NormKind = "batch"  # of every layer; sync: statistics of the global batch

    def fixed_frames(self) -> int:
        return self.frames


class Autoencoder(Reconstructor):
    """(B, C, M, F) → its reconstruction (B, C, M, F); the squared difference is the training loss and the score."""

    def __init__(self, config: AutoencoderConfig, channels: int, bins: int) -> None:
        super().__init__()
        features = channels * bins * config.frames
        self.embedding_dim = config.bottleneck
        self.encoder = _layers([features, *config.hidden, config.bottleneck], config.norm)
        self.decoder = _layers([config.bottleneck, *reversed(config.hidden)], config.norm)
        self.output = nn.Linear(config.hidden[0], features)

    def forward(self, windows: Tensor) -> Tensor:
        """(B, C, M, F) → (B, C, M, F)."""
        return self.output(self.decoder(self.encode(windows))).reshape(windows.shape)

    def encode(self, windows: Tensor) -> Tensor:
        """(B, C, M, F) → (B, bottleneck)."""
        return self.encoder(windows.flatten(1))

    def target(self, windows: Tensor) -> Tensor:
        """What `forward` should give: the windows themselves."""
        return windows


def _layers(sizes: list[int], norm: NormKind) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(sizes):
        layers += [nn.Linear(inner, outer), norm1d(norm, outer), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
