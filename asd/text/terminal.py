"""What is shown in tables and bars: names as they are, for `[left]`, `:fan:` and control characters do nothing."""

from __future__ import annotations

from typing import IO

from rich.console import Console
from rich.text import Text

from asd.errors import printable
from asd.process.logs import form


def open_console(stderr: bool = False, file: IO[str] | None = None, width: int | None = None) -> Console:
    """A console that reads no markup out of what it shows: bold is asked for by a Text's style.

    Silent where this process writes lines of JSON: tables and bars are for people.
    """
    quiet = file is None and form() == "json"
    return Console(stderr=stderr, file=file, width=width, quiet=quiet, markup=False, emoji=False, highlight=False)


def plain(text: object, style: str = "") -> Text:
    """A name for a table's cell."""
    return Text(printable(str(text)), style)
