"""The interface of an export format. Legend: B windows of a clip, T samples of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from asd.detector.file import DetectorFile
from asd.scorers import ScorerConfig


class Clip(NamedTuple):
    """A recording, cut into windows of the detector's length."""

    own: int  # class of its machine
    is_anomaly: bool
    windows: np.ndarray  # (B, T) int16, of two microphones (B, T, 2); B = 0 of a clip that is shorter


@dataclass(frozen=True)
class Clips:
    """What a written file is held against the detector by. Each call reads or makes them anew."""

    words: str  # what they are, such as `test clips`
    checked: Callable[[], Iterator[Clip]]
    normal: Callable[[], Iterator[Clip]]  # some normal ones of each machine


class Format(Protocol):
    """Writes a detector for another program."""

    suffix: str  # of its files

    def require(self, scorers: Sequence[ScorerConfig], weights: Mapping[str, Tensor]) -> None:
        """UserError where a package is missing, or these scorers or the network of these weights cannot be written;
        asked before any work."""

    def is_own(self, path: Path) -> bool:
        """Whether a file is a detector in this format, which one may write over."""

    def write(self, file: DetectorFile, source: Path, out: Path, clips: Clips) -> str:
        """Write a detector, read from `source`, to `out`, whole or not at all; lines that tell of it.

        UserError where it cannot be written, or gives other scores or decisions than the detector.
        """
