"""Log lines of a process: Python's logging, whose formats are defined here.

plain: a command for a person; warnings and errors have their level in front. text: a run; every line has time, level
and the rank where there are several. json: the same as one object a line, the numbers of a line as fields.

What goes well is written to stdout, warnings and errors to stderr. Of `extra`, `fields` (a mapping) become fields of a
json line, and `details` (a text) lines below one of text, a field of json.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

Format = Literal["plain", "text", "json"]
RUN_FORMATS: tuple[Format, ...] = ("text", "json")


def set_up(form: Format) -> None:
    """Show the lines of this process so from now on: ours from INFO, those of libraries from WARNING."""
    root = logging.getLogger()
    for former in [handler for handler in root.handlers if isinstance(handler, _Streams)]:
        root.removeHandler(former)
    root.addHandler(_Streams(form))
    logging.getLogger("asd").setLevel(logging.INFO)
    logging.captureWarnings(form != "plain")


def form() -> Format:
    """The present format."""
    return next((handler.form for handler in logging.getLogger().handlers if isinstance(handler, _Streams)), "plain")


def formatted(level: int, message: str) -> str:
    """A line as it would be shown, for whoever shows it in another way."""
    return _FORMATTERS[form()]().format(logging.LogRecord("asd", level, "", 0, message, None, None))


class _Streams(logging.StreamHandler):
    """Writes to stdout and stderr as they are at that moment: a progress bar stands before them for a time."""

    def __init__(self, form: Format) -> None:
        super().__init__()
        self.form = form
        self.setFormatter(_FORMATTERS[form]())

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> NoReturn:  # noqa: N802  # logging's name
        """A line that cannot be written ends the process in one line, as any other failed write."""
        raise  # called where the error is being handled


class _Plain(logging.Formatter):
    def head(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""

    def format(self, record: logging.LogRecord) -> str:
        details = [text] if (text := getattr(record, "details", None)) else []
        return "\n".join([self.head(record) + super().format(record), *details])


class _Text(_Plain):
    def head(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S")
        rank = f"[rank {os.environ.get('RANK', 0)}] " if int(os.environ.get("WORLD_SIZE", 1)) > 1 else ""
        return f"{when} {rank}{record.levelname.lower()}: "


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "rank": int(os.environ.get("RANK", 0)),
            "message": record.getMessage(),
        }
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        line |= {name: value for name, value in fields.items() if name not in line}
        if details := getattr(record, "details", None):
            line["details"] = details
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
        return json.dumps(finite)  # NaN is not JSON


_FORMATTERS: dict[Format, type[logging.Formatter]] = {"plain": _Plain, "text": _Text, "json": _Json}
