"""A progress bar with clips/s and time left, on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from asd.text.terminal import open_console


class _ClipsPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} clips/s")


class Bar:
    """Counts clips of one stage."""

    def __init__(self, progress: Progress, text: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(text, total=total)

    def advance(self, count: int = 1) -> None:
        self._progress.advance(self._task, count)

    def at(self, done: int) -> None:
        self._progress.update(self._task, completed=done)


@contextmanager
def clip_bar(text: str, total: int) -> Iterator[Bar]:
    """A bar over `total` clips while the block runs."""
    columns = (
        TextColumn("{task.description:<9}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _ClipsPerSecond(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=open_console(stderr=True)) as progress:
        yield Bar(progress, text, total)
