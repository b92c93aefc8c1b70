"""The interface by which readers get the tars of a cached set."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Tars(Protocol):
    """Brings the tars of a cached set when they are needed. Thread-safe."""

    keep_open: bool  # else a descriptor is to be closed after each read, so that the tar may make room for others

    def open(self, shard: int) -> int:
        """A new descriptor of a tar; OSError where it cannot be had."""

    def expect(self, clips: np.ndarray) -> None:
        """Fetch in the background what these clips need, which will be read in this order."""

    def close(self) -> None:
        """End all that is under way."""
