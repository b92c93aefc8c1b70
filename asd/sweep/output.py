"""What the runs of a sweep print: each line with the name of its run, since several print at once."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MIN_COLUMNS = 40
LAST_LINES_S = 10.0  # a process that a run left behind may hold its output open: it is not waited for longer


@contextmanager
def labelled(label: str) -> Iterator[int]:
    """A file descriptor for the stdout and stderr of a run; each line written there is printed as `[label] line`."""
    read, write = os.pipe()
    reader = threading.Thread(target=_print_lines, args=(read, label), daemon=True)
    reader.start()
    try:
        yield write
    finally:
        os.close(write)
        reader.join(LAST_LINES_S)


def environment(label: str) -> dict[str, str]:
    """Makes a run print at once, and its tables leave room for the label."""
    columns = shutil.get_terminal_size().columns - len(label) - 3
    return {"PYTHONUNBUFFERED": "1", "COLUMNS": str(max(MIN_COLUMNS, columns))}


def _print_lines(read: int, label: str) -> None:
    with open(read, encoding="utf-8", errors="replace", newline=None) as lines:
        for line in lines:
            sys.stdout.write(f"[{label}] {line.rstrip()}\n")  # in one piece: runs at once share the terminal
            sys.stdout.flush()
