"""Rounds in which every contender has its turn, and ratios of what was measured in the same round.

The machines are shared: an absolute figure says little, so a claim is always a ratio of two sides of one round.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

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


def spread(rounds: Sequence[float], digits: int = 0) -> str:
    """Median and range, as the tables show them: `33,317 (31,695 – 33,688)`."""
    low, middle, high = min(rounds), statistics.median(rounds), max(rounds)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} – {high:,.{digits}f})"


def memory_mib(process: int | str = "self") -> dict[str, float]:
    """Resident memory of a process now, and the most it ever was. (ru_maxrss begins with what its parent held.)"""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {"now": int(fields["VmRSS"].split()[0]) / 1024, "peak": int(fields["VmHWM"].split()[0]) / 1024}
