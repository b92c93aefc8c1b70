"""A table that fits the terminal: columns that do not fit side by side continue below, and no number is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from asd.text.terminal import plain

MAX_WORD = 16  # of a column's title; what is longer is folded
GAP = 2  # spaces before a column: its padding and the box's divider


@dataclass
class FittingTable:
    """Rows with a name and cells. Names and titles are folded where they must be, cells never."""

    corner: str  # title of the names
    titles: list[Text] = field(default_factory=list)
    rows: list[tuple[Text, list[Text]]] = field(default_factory=list)
    lines_after: set[int] = field(default_factory=set)  # rows with a line below

    def add_column(self, title: str, style: str = "") -> None:
        self.titles.append(plain(title, style))

    def add_row(self, name: str, cells: Sequence[Text | str], style: str = "") -> None:
        shown = [Text(cell) if isinstance(cell, str) else cell for cell in cells]
        self.rows.append((plain(name, style), shown))

    def add_line(self) -> None:
        self.lines_after.add(len(self.rows) - 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        names = min(
            max(name.cell_len for name, _ in [*self.rows, (Text(self.corner), [])]), max(options.max_width // 3, 8)
        )
        widths = []
        for at, title in enumerate(self.titles):
            words = [min(len(word), MAX_WORD) for word in title.plain.split()]
            widths.append(max([*words, *(cells[at].cell_len for _, cells in self.rows), 1]))
        for group in _groups(widths, options.max_width - names):
            yield self._part(group, names, widths)

    def _part(self, group: range, names: int, widths: Sequence[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), pad_edge=False)
        table.add_column(Text(self.corner), overflow="fold", width=names)
        for at in group:
            table.add_column(self.titles[at], justify="right", overflow="fold", width=widths[at])
        for row, (name, cells) in enumerate(self.rows):
            table.add_row(name, *(cells[at] for at in group), end_section=row in self.lines_after)
        return table


def _groups(widths: Sequence[int], room: int) -> Iterator[range]:
    """Runs of columns that fit into the room, each after a gap; a column that is too wide has a run of its own."""
    begin, used = 0, 0
    for at, width in enumerate(widths):
        if at > begin and used + width + GAP > room:
            yield range(begin, at)
            begin, used = at, 0
        used += width + GAP
    yield range(begin, len(widths))
