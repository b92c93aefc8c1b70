"""The samples of a set in memory, one clip behind the other, and behind all of these those of a second channel.

Legend: M clips of the set, n of one call, T samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from asd.data.manifest import Manifest

SAMPLE_BYTES = 2


@dataclass(frozen=True)
class Layout:
    """Where each clip lies. Clips of one shard are neighbours, those of one length among them too."""

    order: np.ndarray  # the clips that are held, as they lie
    first: np.ndarray  # (M,) int64, the first sample of each clip; -1: it is not held
    samples: int  # of all of them together, of one channel
    channels: int = 1

    @classmethod
    def of(cls, manifest: Manifest, clips: np.ndarray) -> Layout:
        """Of these clips, each of them once."""
        clips, frames = np.unique(clips), manifest.frames
        order = clips[np.lexsort((clips, frames[clips], manifest.column("shard")[clips]))]
        ends = np.cumsum(frames[order])
        first = np.full(len(manifest), -1, dtype=np.int64)
        first[order] = ends - frames[order]
        return cls(order, first, int(ends[-1]) if len(ends) else 0, manifest.channels)

    @property
    def bytes(self) -> int:
        return SAMPLE_BYTES * self.channels * self.samples


@dataclass(frozen=True)
class Held:
    """A layout with its samples (channels · samples,) int16.

    problems: clip index → why it could not be read; it is silence.
    """

    layout: Layout
    samples: Tensor
    problems: Mapping[int, str] = field(default_factory=dict)

    @property
    def of_channels(self) -> Tensor:
        """(channels, samples)."""
        return self.samples.view(self.layout.channels, -1)

    def first(self, clips: np.ndarray) -> np.ndarray:
        """(n,) int64, where these clips begin. ValueError where one is not held."""
        first = self.layout.first[clips]
        if (first < 0).any():
            raise ValueError(f"clip {int(clips[first < 0][0])} is not in memory")
        return first

    def to(self, device: torch.device) -> Held:
        """The same on a device."""
        return Held(self.layout, self.samples.to(device), self.problems)
