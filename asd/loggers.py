"""Where the numbers of a run go: metrics.jsonl is the record, console and TensorBoard are views of it."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from asd.files import naming
from asd.terminal import open_console

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # a third of a second that a run without figures does not wait for

Record = Mapping[str, float]


class Logger(Protocol):
    """Takes the numbers of one step."""

    def log(self, step: int, record: Record) -> None: ...

    def close(self) -> None: ...


class JsonlLogger:
    """metrics.jsonl, one object a line. Lines of steps that a resumed run will do again are dropped at its start."""

    def __init__(self, path: Path, resumed_at: int) -> None:
        if path.exists():
            self._drop_later(path, resumed_at)
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()  # alerts come from another thread

    def log(self, step: int, record: Record) -> None:
        finite = {name: value if math.isfinite(value) else None for name, value in record.items()}  # NaN is not JSON
        with naming(Path(self._file.name)), self._lock:
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()

    @staticmethod
    def _drop_later(path: Path, resumed_at: int) -> None:
        kept = [json.dumps(r) + "\n" for r in read_metrics(path) if r["step"] <= resumed_at]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(kept), encoding="utf-8")
        partial.rename(path)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Records of metrics.jsonl; a last line that a kill cut short is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


class TensorBoardLogger:
    """Scalars, figures and text under one folder of the run; steps after a resume replace the former ones."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self._folder = folder
        with naming(folder):
            self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def log(self, step: int, record: Record) -> None:
        with naming(self._folder):
            for name, value in record.items():
                self._writer.add_scalar(name if "/" in name else f"train/{name}", value, step)

    def figure(self, step: int, name: str, figure: Figure) -> None:
        self._writer.add_figure(name, figure, step, close=False)

    def embedding(
        self, step: int, name: str, vectors: Tensor, columns: list[str], rows: Sequence[Sequence[str]]
    ) -> None:
        """Vectors (N, D) for the projector, with N rows of metadata; those of an earlier step are removed."""
        with naming(self._folder):
            for earlier in self._folder.glob(f"[0-9]*/{name}"):
                shutil.rmtree(earlier.parent)
            self._writer.add_embedding(vectors, list(rows), global_step=step, tag=name, metadata_header=columns)

    def text(self, step: int, name: str, markdown: str) -> None:
        self._writer.add_text(name, markdown, step)

    def flush(self) -> None:
        with naming(self._folder):
            self._writer.flush()

    def close(self) -> None:
        with naming(self._folder):
            self._writer.close()


class TimeLeft:
    """By the mean of all steps since the start, evaluations included."""

    def __init__(self, total_steps: int, first_step: int) -> None:
        self.total_steps, self.first_step = total_steps, first_step
        self._begin = time.monotonic()

    def seconds(self, step: int) -> float:
        done = max(step - self.first_step, 1)
        return (time.monotonic() - self._begin) / done * (self.total_steps - step)


class ConsoleLogger:
    """A line per interval on stdout, and a progress bar with the time left where stderr is a terminal."""

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
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=left.total_steps, completed=left.first_step)
        self._bar.start()

    def log(self, step: int, record: Record) -> None:
        self._bar.update(self._task, completed=step)
        if "loss" in record:
            print(format_line(step, self._left.total_steps, record, self._left.seconds(step)), flush=True)

    def advance(self, step: int) -> None:
        self._bar.update(self._task, completed=step)

    def close(self) -> None:
        self._bar.stop()


def format_line(step: int, total: int, record: Record, left_s: float) -> str:
    """The one line that says how a run is doing."""
    parts = [
        f"step {step}/{total} epoch {record['epoch']:.2f}",
        f"loss {record['loss']:.4f} (max {record['loss_max']:.4f})",
        f"grad {record['grad_norm']:.2f} lr {record['lr']:.2e}",
        f"{record['clips_per_s']:.0f} clips/s wait {record['data_wait_percent']:.1f}%",
    ]
    if record["bad_clips"]:
        parts.append(f"UNREADABLE CLIPS {record['bad_clips']:.0f}")
    if record["nonfinite_steps"]:
        parts.append(f"NON-FINITE STEPS {record['nonfinite_steps']:.0f}")
    return " | ".join([*parts, f"ETA {_clock(left_s)}"])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


class Loggers:
    """All views of a run; on ranks other than 0 there are none. As a context it closes them, however the run ends."""

    def __init__(self, *loggers: Logger) -> None:
        self._loggers = [*loggers]

    def add(self, logger: Logger) -> None:
        self._loggers.append(logger)

    def log(self, step: int, record: Record) -> None:
        for logger in self._loggers:
            logger.log(step, record)

    def advance(self, step: int) -> None:
        """Move the progress bar between intervals."""
        for logger in self._loggers:
            if isinstance(logger, ConsoleLogger):
                logger.advance(step)

    def flush(self) -> None:
        for logger in self._loggers:
            if isinstance(logger, TensorBoardLogger):
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
