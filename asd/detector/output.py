"""Verdicts as a table, csv or json."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL
from asd.detector.judge import ClipResult
from asd.errors import printable
from asd.files.paths import path_text
from asd.text.terminal import open_console

Format = Literal["table", "csv", "json"]
COLUMNS = (
    "file", "seconds", "score", "threshold", "decision", "windows", "windows_above", "remarks", "error",
    "machine_type", "machine_id", "label",
)  # fmt: skip
LABEL_WORDS = {LABEL_NORMAL: "normal", LABEL_ANOMALY: "anomaly"}
MIN_WIDTH = 16  # of a column that folds what is longer
STYLES = {"anomaly": "bold red", "normal": "green"}


def rendered(verdicts: Sequence[ClipResult], about: dict[str, Any], how: Format) -> str:
    """The text of a file. about: what holds for all of them."""
    if how == "csv":
        return _csv(verdicts)
    if how == "json":
        body = about | {"clips": [_row(v) | {"remarks": v.remarks} | _timeline(v) for v in verdicts]}
        return json.dumps(body, indent=1, ensure_ascii=False) + "\n"
    text = io.StringIO()
    show(open_console(file=text, width=200), verdicts, about)
    return text.getvalue()


def show(console: Console, verdicts: Sequence[ClipResult], about: dict[str, Any]) -> None:
    """Print the table: as wide as the console, or wider where numbers and words would be cut."""
    console.print(_table(verdicts, about), crop=False)


def _table(verdicts: Sequence[ClipResult], about: dict[str, Any]) -> Table:
    """A row a recording; columns that would be empty are left out."""
    several = about["machine_type"] is None
    title = about["scorer"] if several else f"{about['machine_type']}/{about['machine_id']}, {about['scorer']}"
    title += _channel_words(about["channel"])
    if about["threshold"] is not None:
        title += f": anomaly above {about['threshold']:.5g}"
    found = Table(title=Text(title), title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    columns = [column for column in _columns(verdicts, several) if any(map(column.cell, verdicts))]
    for column in columns:
        widest = max(map(cell_len, [*column.name.split(), *map(column.cell, verdicts)]))
        width = min(widest, MIN_WIDTH) if column.folds else widest
        found.add_column(column.name, justify=column.justify, overflow="fold", min_width=width)
    for verdict in verdicts:
        found.add_row(*(Text(column.cell(verdict), style=column.style(verdict)) for column in columns))
    return found


def _channel_words(channel: int | str | None) -> str:
    if channel is None:
        return ""
    return ", mean of channels" if channel == "average" else f", channel {channel}"


class Column(NamedTuple):
    """One of the table's: what stands in it and how it looks."""

    name: str
    cell: Callable[[ClipResult], str]
    justify: Literal["left", "right"] = "left"
    folds: bool = False
    style: Callable[[ClipResult], str] = lambda verdict: ""


def _columns(verdicts: Sequence[ClipResult], several: bool) -> list[Column]:
    """several: machines, so that each row names its own and its threshold."""
    folder = _common_folder(verdicts)
    return [
        Column(
            "recording", lambda v: printable(os.path.relpath(v.path, folder) if folder else str(v.path)), folds=True
        ),
        Column("machine", lambda v: printable(str(v.machine)) if several else ""),
        Column("seconds", lambda v: _number(v.seconds, ".1f"), "right"),
        Column("score", lambda v: _number(v.score, ".5g"), "right"),
        Column("threshold", lambda v: _number(v.threshold, ".5g") if several else "", "right"),
        Column("label", _label),
        Column("decision", _decision, style=lambda v: STYLES.get(_decision(v), "yellow")),
        Column("windows\nabove", _windows_above, "right"),
        Column("", _remarks, folds=True, style=lambda v: "red" if v.error else "dim"),
    ]


def _common_folder(verdicts: Sequence[ClipResult]) -> str | None:
    """The folder that all recordings lie in, where there are several: their names are long enough without it."""
    if len(verdicts) < 2 or len({verdict.path.is_absolute() for verdict in verdicts}) > 1:
        return None
    return os.path.commonpath([verdict.path.parent for verdict in verdicts]) or None


def _label(verdict: ClipResult) -> str:
    """Empty where nobody gave one."""
    return LABEL_WORDS.get(verdict.asked.label, "") if verdict.asked.label is not None else ""


def _decision(verdict: ClipResult) -> str:
    return "unreadable" if verdict.error else verdict.decision or "no threshold"


def _windows_above(verdict: ClipResult) -> str:
    if verdict.error or verdict.windows_above is None or len(verdict.scores) < 2:
        return ""
    return f"{verdict.windows_above} of {len(verdict.scores)}"


def _remarks(verdict: ClipResult) -> str:
    return verdict.error or ", ".join(verdict.remarks)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _name(verdict: ClipResult) -> str:
    """The same place by a name that no spreadsheet takes for a formula."""
    name = printable(path_text(verdict.path))
    return f"./{name}" if name.startswith(("=", "+", "-", "@")) else name


def _row(verdict: ClipResult) -> dict[str, Any]:
    heard = verdict.error is None
    return {
        "file": _name(verdict),
        "seconds": verdict.seconds,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "decision": verdict.decision,
        "windows": len(verdict.scores) if heard else None,
        "windows_above": verdict.windows_above if heard else None,
        "remarks": "; ".join(verdict.remarks),
        "error": verdict.error,
        "machine_type": verdict.machine.machine_type,
        "machine_id": verdict.machine.machine_id,
        "label": _label(verdict) or None,
    }


def _timeline(verdict: ClipResult) -> dict[str, Any]:
    """Score over time, where a recording was heard in windows."""
    if verdict.error is not None or len(verdict.scores) < 2:
        return {}
    pairs = zip(verdict.begins_s, verdict.scores, strict=True)
    return {"timeline": [{"begin_s": begin, "score": score} for begin, score in pairs]}


def _csv(verdicts: Sequence[ClipResult]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(verdict) for verdict in verdicts)
    return text.getvalue()
