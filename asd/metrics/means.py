"""Means of metrics over groups of clips, without the groups that have no such number (None or nan)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def arithmetic_mean(values: Iterable[float | None]) -> float:
    """Mean of the values that are known; nan where there are none."""
    known = _known(values)
    return float(known.mean()) if known.size else math.nan


def harmonic_mean(values: Iterable[float | None]) -> float:
    """Harmonic mean of the values that are known, each floored at machine epsilon as the DCASE evaluators do."""
    known = _known(values)
    if not known.size:
        return math.nan
    return float(known.size / np.sum(1.0 / np.maximum(known, np.finfo(np.float64).eps)))


def lowest(values: Iterable[float | None]) -> float:
    """The smallest of the values that are known; nan where there are none."""
    known = _known(values)
    return float(known.min()) if known.size else math.nan


def _known(values: Iterable[float | None]) -> NDArray[np.float64]:
    array = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    return array[~np.isnan(array)]
