"""The interface of a metric: one number of the scores of a group of clips, and its names in report.json and tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Metric:
    """One number of a group of clips; over machine IDs and machine types it has a name for every mean.

    of: labels (N,) of 0 (normal) and 1 (anomaly), scores (N,), higher = more anomalous → a fraction of 1, higher =
    better; nan where the group has no such number.
    """

    key: str  # in report.json, of a machine ID and, as a mean, of all machine types
    title: str  # in tables
    of: Callable[[ArrayLike, ArrayLike], float]
    with_lowest: bool = False  # whether the lowest ID of a machine type is reported as well

    @property
    def mean(self) -> str:
        """The arithmetic mean over the IDs of a machine type."""
        return f"{self.key}_mean"

    @property
    def harmonic(self) -> str:
        """The harmonic mean, over the IDs of a type or over the types."""
        return f"{self.key}_harmonic"

    @property
    def pooled(self) -> str:
        """All IDs of a machine type as one group."""
        return f"{self.key}_pooled"

    @property
    def lowest(self) -> str:
        """The lowest ID of a machine type; its mean over the types is `mean_of_lowest`."""
        return f"{self.key}_min"

    @property
    def mean_of_lowest(self) -> str:
        return f"m{self.key}"
