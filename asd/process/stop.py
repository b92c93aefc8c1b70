"""Stop signals.

Without torch: a signal that arrives while torch is still being imported counts as well.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

STOP_MARKER_ENV = "ASD_STOPPED_FILE"  # a file that appears where a run stops before its end; docker/entrypoint.sh
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class StoppedError(Exception):
    """All ranks gave something up together, since they were asked to stop and it could not be had."""


class AskedToStop(BaseException):
    """Raised by a signal where work may be left at any point; no `except Exception` on the way takes it for its own."""


class StopSignal:
    """Remembers that SIGTERM or SIGINT asked this process to stop; a second SIGINT stops at once.

    at_once: the first signal raises AskedToStop in the main thread, wherever it is.
    """

    def __init__(self, at_once: bool = False) -> None:
        self.name: str | None = None
        self._at_once = at_once

    def __enter__(self) -> StopSignal:
        self._former = {number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """That of a shell for what the signal ended: 143 or 130."""
        return 128 + signal.Signals[self.name or "SIGTERM"]

    def _remember(self, number: int, _: FrameType | None) -> None:
        if self.name == "SIGINT" and number == signal.SIGINT:
            raise KeyboardInterrupt
        first, self.name = self.name is None, signal.Signals(number).name
        if first and self._at_once:
            self.leave_if_asked()

    def leave_if_asked(self) -> None:
        """Raise AskedToStop where a signal came: the first one's is lost in a destructor, which lets nothing out."""
        if self.name is not None:
            raise AskedToStop(f"stopped by {self.name}")


def write_stop_marker() -> None:
    """Tell the launcher that the run stops before its end: ranks leave with 0 either way, else torchrun would retry."""
    if path := os.environ.get(STOP_MARKER_ENV):
        with suppress(OSError):  # to save is what matters
            Path(path).touch()


def without_local_rank(argv: Sequence[str] | None) -> list[str]:
    """The words of a command line but for what torch.distributed.launch adds: LOCAL_RANK says the same."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--local-rank", "--local_rank", type=int)
    return parser.parse_known_args(argv)[1]


def die_with_torchrun() -> None:
    """Under torchrun, have the kernel kill this rank when torchrun is killed, as the loss of its node would.

    Left alone it would train on, and keep the run folder from whoever is started in its place. A mere SIGTERM would
    stop the ranks of all other nodes, which are to wait for this one.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
