"""What a training run holds of its monitoring: the watchdog on every rank, the account on rank 0."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal

from asd.distributed.ranks import Ranks
from asd.loggers.base import Logger, Record
from asd.loggers.console import TimeLeft
from asd.monitor.reporter import Reporter, reason
from asd.monitor.snapshot import RunSnapshot
from asd.monitor.stages import Position
from asd.monitor.stalls import StallFiles
from asd.monitor.watchdog import Watchdog


class Monitor(Logger):
    """Watches from the moment that the run folder is this run's, to the end of the run."""

    def __init__(self, folder: Path, ranks: Ranks, stall_s: float, look: Callable[[], RunSnapshot]) -> None:
        files = StallFiles(folder / "stalls")
        self._reporter: Reporter | None = None
        if ranks.is_main:
            self._reporter = Reporter(folder, files, ranks.world_size, ranks.device.type, look)
        self._watchdog = Watchdog(ranks.rank, stall_s, files, self._reporter)

    def begin(self, left: TimeLeft, nonfinite_steps: int, loggers: Logger) -> None:
        """Rank 0 is about to start, or to resume after nonfinite_steps skipped updates; loggers: where alerts go."""
        if self._reporter is not None:
            self._reporter.begin(left, nonfinite_steps, loggers)

    def log(self, step: int, record: Record) -> None:
        """Take a record, as a logger does; the rest is work of another thread."""
        if self._reporter is not None:
            self._reporter.log(step, record)

    def watch(self, where: Callable[[], Position]) -> None:
        """The loop is about to begin; where it is, from now on."""
        self._watchdog.watch(where)

    def end(self, outcome: Literal["finished", "stopped"]) -> None:
        """The run is over."""
        self._watchdog.stop()
        if self._reporter is not None:
            self._reporter.end(outcome)

    def __enter__(self) -> Monitor:
        self._watchdog.start()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._watchdog.stop()
        if error is not None and self._reporter is not None:
            self._reporter.end("failed", reason(error))
