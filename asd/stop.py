"""Being asked to stop. Without torch: a signal that arrives while torch is still being imported counts as well."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType

WORD = "ASD_STOPPED_FILE"  # names a file that appears where a run stops before its end (docker/entrypoint.sh reads it)


class StopSignal:
    """Remembers that SIGTERM or SIGINT asked this process to stop; a second SIGINT stops at once."""

    def __init__(self) -> None:
        self.name: str | None = None

    def __enter__(self) -> StopSignal:
        self._former = {number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: FrameType | None) -> None:
        if self.name == "SIGINT" and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name


def leave_word() -> None:
    """Tell the launcher that the run stops before its end: ranks leave with 0 either way, else torchrun would retry."""
    if path := os.environ.get(WORD):
        with suppress(OSError):  # to save is what matters
            Path(path).touch()
