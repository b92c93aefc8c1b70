"""Where the numbers of a run go: metrics.jsonl is the record, all others are views of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from types import TracebackType

Record = Mapping[str, float]


class Logger:
    """A destination of numbers: it overrides what it can take, all else is left out."""

    def log(self, step: int, record: Record) -> None:
        """The numbers of a step."""

    def advance(self, step: int) -> None:
        """A step without numbers."""

    def flush(self) -> None:
        """Let all that was logged be seen: a checkpoint was saved."""

    def close(self) -> None:
        """The run has ended."""


class Loggers(Logger):
    """All loggers of a run; on ranks other than 0 there are none. As a context it closes them, however the run ends."""

    def __init__(self, *loggers: Logger) -> None:
        self._loggers = [*loggers]

    def add(self, logger: Logger) -> None:
        self._loggers.append(logger)

    def log(self, step: int, record: Record) -> None:
        for logger in self._loggers:
            logger.log(step, record)

    def advance(self, step: int) -> None:
        for logger in self._loggers:
            logger.advance(step)

    def flush(self) -> None:
        for logger in self._loggers:
            logger.flush()

    def close(self) -> None:
        """Close each of them, whatever befalls another."""
        with ExitStack() as stack:
            for logger in self._loggers:
                stack.callback(logger.close)

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        with suppress(*([OSError] if error is not None else [])):  # what ended the run is what is told
            self.close()
