"""The interface of a tracker: settings that open it, and the calls it receives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import pydantic

if TYPE_CHECKING:  # a third of a second that a run without figures does not wait for
    from matplotlib.figure import Figure
    from torch import Tensor

Record = Mapping[str, float]
Outcome = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class Source:
    """Which process writes, and of which run."""

    folder: Path  # of the run
    process: Literal["train", "eval"] = "train"  # the training itself, or the scoring of its checkpoints
    first_step: int = 0  # with which training goes on: numbers of later steps come again
    total_steps: int = 0  # of training
    settings: Mapping[str, Any] = field(default_factory=dict)  # the config of a training


class Logger:
    """A destination of numbers: it overrides what it can take, all else is left out.

    Another thread may write alerts into it while the loop writes numbers.
    """

    def log(self, step: int, record: Record) -> None:
        """The numbers of a step."""

    def text(self, step: int, name: str, markdown: str) -> None:
        """A text of a step: the config, a report, an alert."""

    def figure(self, step: int, name: str, figure: Figure) -> None:
        """A picture of a step."""

    def embedding(
        self, step: int, name: str, vectors: Tensor, columns: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> None:
        """Vectors (N, D) of a step, with N rows of what is known of each, by columns."""

    def advance(self, step: int) -> None:
        """A step without numbers."""

    def flush(self) -> None:
        """Let all that was logged be seen: a checkpoint was saved."""

    def close(self, outcome: Outcome = "finished") -> None:
        """The process ends, in this way; nothing is logged any more."""


class TrackerSettings(pydantic.BaseModel, ABC, extra="forbid", frozen=True):
    """Base of the config classes; `name` chooses among them."""

    @abstractmethod
    def build(self, source: Source) -> Logger:
        """The destination, ready to be written to. UserError or OSError where it cannot be."""

    def viewer(self, folder: Path) -> str | None:
        """The command that shows what was written of the run in a folder; None: none is needed."""
        return None


class Loggers(Logger):
    """All loggers of a process; on ranks other than 0 there are none. As a context it closes them, also on failure."""

    def __init__(self, *loggers: Logger) -> None:
        self._loggers = [*loggers]

    def add(self, logger: Logger) -> None:
        self._loggers.append(logger)

    def log(self, step: int, record: Record) -> None:
        for logger in self._loggers:
            logger.log(step, record)

    def text(self, step: int, name: str, markdown: str) -> None:
        for logger in self._loggers:
            logger.text(step, name, markdown)

    def figure(self, step: int, name: str, figure: Figure) -> None:
        for logger in self._loggers:
            logger.figure(step, name, figure)

    def embedding(
        self, step: int, name: str, vectors: Tensor, columns: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> None:
        for logger in self._loggers:
            logger.embedding(step, name, vectors, columns, rows)

    def advance(self, step: int) -> None:
        for logger in self._loggers:
            logger.advance(step)

    def flush(self) -> None:
        for logger in self._loggers:
            logger.flush()

    def close(self, outcome: Outcome = "finished") -> None:
        """Close each of them, whatever befalls another; to close twice does nothing."""
        with ExitStack() as stack:
            while self._loggers:
                stack.callback(self._loggers.pop(0).close, outcome)

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        with suppress(*([OSError] if error is not None else [])):  # what ended the run is what is told
            self.close("finished" if error is None else "failed")
