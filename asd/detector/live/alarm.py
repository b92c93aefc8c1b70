"""When windows above the threshold are an alarm: N of the last M, until none of M is above, then a pause."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

Change = Literal["alarm", "alarm_end"] | None


@dataclass
class Alarm:
    """hits of the last `of` windows begin an alarm; it ends where none of them is above any more (hysteresis). For
    cool_down_s after an end no other one begins."""

    hits: int
    of: int
    cool_down_s: float = 0.0
    is_on: bool = False
    _last: deque[bool] = field(default_factory=deque)
    _quiet_until_s: float = float("-inf")

    def add(self, is_above: bool, at_s: float) -> Change:
        """What the next window, which ends at this time, changes."""
        self._last.append(is_above)
        while len(self._last) > self.of:
            self._last.popleft()
        if self.is_on:
            if any(self._last):
                return None
            self.is_on, self._quiet_until_s = False, at_s + self.cool_down_s
            return "alarm_end"
        if self.count >= self.hits and at_s >= self._quiet_until_s:
            self.is_on = True
            return "alarm"
        return None

    @property
    def count(self) -> int:
        """Of the last windows, those above."""
        return sum(self._last)

    def forget(self) -> None:
        """Windows before a gap count no longer; an alarm stays on."""
        self._last.clear()
