"""How tests wait: for what they look at, never for a time. Other processes may hold every core meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 600.0  # whatever takes longer hangs; says nothing about the machine's speed


def wait_for(condition: Callable[[], Any]) -> Any:
    """The condition's value once it is true."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value
