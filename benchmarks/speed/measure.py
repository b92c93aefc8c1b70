"""Rounds in which every contender has its turn, and ratios of what was measured in the same round.

The machines are shared: an absolute figure says little, so a claim is always a ratio of two sides of one round.
"""

from __future__ import annotations

import gc
import os
import statistics
from collections.abc import Callable, Mapping, Sequence

Rounds = list[float]  # one figure of each round


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Rounds]:
    """The figure of every contender in every round; the order is turned round every second time."""
    found: dict[str, Rounds] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            gc.collect()
            found[name].append(contenders[name]())
    return found


def ratios(ones: Sequence[float], others: Sequence[float]) -> Rounds:
    """one / other of every round."""
    return [one / other for one, other in zip(ones, others, strict=True)]


def median(rounds: Sequence[float]) -> float:
    return statistics.median(rounds)


def spread(rounds: Sequence[float], digits: int = 0) -> str:
    """Median and range, as the tables show them: `33,317 (31,695 – 33,688)`."""
    low, middle, high = min(rounds), statistics.median(rounds), max(rounds)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} – {high:,.{digits}f})"


def cpu_s() -> float:
    """Seconds of CPU of this process and of all children that have ended."""
    return sum(os.times()[:4])
