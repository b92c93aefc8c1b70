"""What the runs of a sweep print: each line with the name of its run, since several print at once."""

from __future__ import annotations

import codecs
import io
import json
import logging
import re
import shutil
import sys
from collections import deque
from pathlib import Path

from asd.process.logs import form, formatted

MIN_COLUMNS = 40
LAST_LINES = 5
ERROR = re.compile(r'(^| )error: |"level": "error"')


class Output:
    """The log of a run as it grows; each line is printed as `[label] line`, or as an object with the label under
    `run`."""

    def __init__(self, path: Path, label: str) -> None:
        self.path = path
        self._last, self._errors = deque[str](maxlen=LAST_LINES), deque[str](maxlen=LAST_LINES)
        self._label, self._read, self._rest = label, 0, ""
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)

    @property
    def why(self) -> str:
        """Its last errors, after which torchrun prints forty lines of its own; its last lines where there are none."""
        return "\n".join(self._errors or self._last)

    def show(self, ended: bool = False) -> None:
        """Print what is new. ended: no more comes, so the last line may be without an end."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        *lines, self._rest = (self._rest + self._decoder.decode(new, ended)).split("\n")
        if ended and self._rest:
            lines.append(self._rest)
        for line in map(str.rstrip, lines):
            self._last.append(line)
            if ERROR.search(line):
                self._errors.append(line)
            own = f"[{self._label}] {line}" if form() != "json" else _labelled_json(line, self._label)
            sys.stdout.write(f"{own}\n")
        sys.stdout.flush()


def environment(label: str) -> dict[str, str]:
    """Makes a run print at once, and its tables leave room for the label."""
    columns = shutil.get_terminal_size().columns - len(label) - 3
    return {"PYTHONUNBUFFERED": "1", "COLUMNS": str(max(MIN_COLUMNS, columns))}


def _labelled_json(line: str, label: str) -> str:
    """What is no JSON, as native code may write it, becomes a message."""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    own = found if isinstance(found, dict) else json.loads(formatted(logging.INFO, line))
    return json.dumps({"run": label, **own})
