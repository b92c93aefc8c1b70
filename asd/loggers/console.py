"""Console output of a training: a line per interval and a progress bar."""

from __future__ import annotations

import logging
import time
from typing import Literal

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from asd.loggers.base import Logger, Outcome, Record, Source, TrackerSettings
from asd.text.terminal import open_console

log = logging.getLogger(__name__)


class ConsoleConfig(TrackerSettings, frozen=True):
    """A line per interval on stdout, and a progress bar with the time left where stderr is a terminal."""

    name: Literal["console"] = "console"

    def build(self, source: Source) -> Logger:
        """Of a scoring process nothing: training says what came of it."""
        left = TimeLeft(source.total_steps, source.first_step)
        return ConsoleLogger(left) if source.process == "train" else Logger()


class TimeLeft:
    """By the mean of all steps since the start, evaluations included."""

    def __init__(self, total_steps: int, first_step: int) -> None:
        self.total_steps, self.first_step = total_steps, first_step
        self._begin = time.monotonic()

    def seconds(self, step: int) -> float:
        done = max(step - self.first_step, 1)
        return (time.monotonic() - self._begin) / done * (self.total_steps - step)


class ConsoleLogger(Logger):
    """See ConsoleConfig."""

    def __init__(self, left: TimeLeft) -> None:
        self._left = left
        self._console = open_console(stderr=True)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=self._console.quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=left.total_steps, completed=left.first_step)
        self._bar.start()

    def log(self, step: int, record: Record) -> None:
        self._bar.update(self._task, completed=step)
        if "loss" in record:
            total, left_s = self._left.total_steps, self._left.seconds(step)
            fields = {"step": step, "total_steps": total, **record, "eta_s": round(left_s, 1)}
            log.info(format_line(step, total, record, left_s), extra={"fields": fields})

    def advance(self, step: int) -> None:
        self._bar.update(self._task, completed=step)

    def close(self, outcome: Outcome = "finished") -> None:
        self._bar.stop()


def format_line(step: int, total: int, record: Record, left_s: float) -> str:
    """The one line that says how a run is doing."""
    parts = [
        f"step {step}/{total} epoch {record['epoch']:.2f}",
        f"loss {record['loss']:.4f} (max {record['loss_max']:.4f})",
        f"grad {record['grad_norm']:.2f} lr {record['lr']:.2e}",
        f"{record['clips_per_s']:.0f} clips/s wait {record['data_wait_percent']:.1f}%",
    ]
    if "mfu_percent" in record:
        parts.append(f"{record['tflop_per_s']:.1f} TFLOP/s MFU {record['mfu_percent']:.1f}%")
    if record["bad_clips"]:
        parts.append(f"UNREADABLE CLIPS {record['bad_clips']:.0f}")
    if record["nonfinite_steps"]:
        parts.append(f"NON-FINITE STEPS {record['nonfinite_steps']:.0f}")
    minutes, seconds = divmod(int(left_s), 60)
    return " | ".join([*parts, f"ETA {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"])
