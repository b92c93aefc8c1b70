"""A rank makes no progress, and the others wait for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from asd.monitor.alerts.base import AlertRule
from asd.monitor.stalls import Stall, blame

REPORT_S = 10.0  # in which the other ranks report where they are


class Stalled(AlertRule):
    """Begins once all ranks have reported where they are, or have had the time to."""

    name: ClassVar[str] = "stalled"

    def see_stalls(self, stalls: Mapping[int, Stall], world_size: int, folder: Path) -> None:
        if not stalls:
            self.text = None
            return
        first = min(stall.told_unix for stall in stalls.values())
        if len(stalls) == world_size or time.time() - first >= REPORT_S:
            self.text = f"{blame(stalls, world_size)}; stacks in {folder}"
