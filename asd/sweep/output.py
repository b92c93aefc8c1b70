"""What the runs of a sweep print: each line with the name of its run, since several print at once."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from asd.process.logs import form, formatted

MIN_COLUMNS = 40
LAST_LINES_S = 10.0  # a process that a run left behind may hold its output open: it is not waited for longer


@contextmanager
def labelled(label: str) -> Iterator[int]:
    """A file descriptor for the stdout and stderr of a run; each line written there is printed as `[label] line`, or
    as an object with the label under `run`."""
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
            own = f"[{label}] {line.rstrip()}" if form() != "json" else _labelled_json(line.rstrip(), label)
            sys.stdout.write(f"{own}\n")  # in one piece: runs at once share the terminal
            sys.stdout.flush()


def _labelled_json(line: str, label: str) -> str:
    """What is no JSON, as native code may write it, becomes a message."""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    own = found if isinstance(found, dict) else json.loads(formatted(logging.INFO, line))
    return json.dumps({"run": label, **own})
