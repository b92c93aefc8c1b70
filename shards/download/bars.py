"""What a person sees while waiting: one bar over all that is to be fetched, one over the archive at hand; on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from asd.text.terminal import open_console

Done = Callable[[int], None]


class Bars:
    """Counts bytes: of one archive, and with it of all."""

    def __init__(self, progress: Progress, total: int, here: int) -> None:
        self._progress = progress
        self._all = progress.add_task("all", total=total, completed=here)

    @contextmanager
    def fetching(self, name: str, size: int, here: int) -> Iterator[Done]:
        """A bar of one archive; what is yielded takes the bytes of it that are here, which may become fewer."""
        task = self._progress.add_task(name, total=size, completed=here)
        before = here

        def done(now: int) -> None:
            nonlocal before
            self._progress.update(task, completed=now)
            self._progress.advance(self._all, now - before)
            before = now

        yield done
        self._progress.remove_task(task)

    @contextmanager
    def unpacking(self, name: str) -> Iterator[Callable[[int], Done]]:
        """A bar whose length is known later: what is yielded takes it, and gives what takes the bytes unpacked."""
        task = self._progress.add_task(f"{name} unpacked", total=None)

        def begin(total: int) -> Done:
            self._progress.update(task, total=total)
            return lambda now: self._progress.update(task, completed=now)

        yield begin
        self._progress.remove_task(task)


@contextmanager
def open_bars(total: int, here: int) -> Iterator[Bars]:
    """Bars over `total` bytes, of which `here` need not be fetched."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=open_console(stderr=True)) as progress:
        yield Bars(progress, total, here)
