"""Results as a table, csv or json."""

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

from asd.audio.recording import Channel
from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL
from asd.detector.input import OK
from asd.detector.judge import ClipResult
from asd.detector.why import as_numbers, in_words
from asd.errors import printable
from asd.files.paths import path_text
from asd.text.terminal import open_console

Format = Literal["table", "csv", "json"]
COLUMNS = (
    "file", "seconds", "score", "threshold", "decision", "input", "windows", "windows_above", "remarks", "error",
    "machine_type", "machine_id", "label",
)  # fmt: skip
LABEL_WORDS = {LABEL_NORMAL: "normal", LABEL_ANOMALY: "anomaly"}
MIN_WIDTH = 16  # of a column that folds what is longer
STYLES = {"anomaly": "bold red", "normal": "green"}


def rendered(results: Sequence[ClipResult], about: dict[str, Any], how: Format) -> str:
    """The text of a file. about: what holds for all of them."""
    if how == "csv":
        return _csv(results)
    if how == "json":
        body = about | {
            "clips": [_row(v) | {"remarks": v.all_remarks} | _members(v) | _timeline(v) | _why(v) for v in results]
        }
        return json.dumps(body, indent=1, ensure_ascii=False) + "\n"
    text = io.StringIO()
    show(open_console(file=text, width=200), results, about)
    return text.getvalue()


def show(console: Console, results: Sequence[ClipResult], about: dict[str, Any]) -> None:
    """Print the table, as wide as the console, or wider where numbers and words would be cut; and why, a line each."""
    console.print(_table(results, about), crop=False)
    folder = _common_folder(results)
    for result in results:
        if result.why is not None:
            name = os.path.relpath(result.path, folder) if folder else str(result.path)
            console.print(Text(f"{printable(name)}: {printable(in_words(result.why))}"), soft_wrap=True)


def _table(results: Sequence[ClipResult], about: dict[str, Any]) -> Table:
    """A row a recording; columns that would be empty are left out."""
    several = about["machine_type"] is None
    title = about["scorer"] if several else f"{about['machine_type']}/{about['machine_id']}, {about['scorer']}"
    title += _channel_words(about["channel"])
    if about["threshold"] is not None:
        title += f": anomaly above {about['threshold']:.5g}"
    found = Table(title=Text(title), title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    columns = [column for column in _columns(results, several) if any(map(column.cell, results))]
    for column in columns:
        widest = max(map(cell_len, [*column.name.split(), *map(column.cell, results)]))
        width = min(widest, MIN_WIDTH) if column.folds else widest
        found.add_column(column.name, justify=column.justify, overflow="fold", min_width=width)
    for result in results:
        found.add_row(*(Text(column.cell(result), style=column.style(result)) for column in columns))
    return found


def _channel_words(channel: Channel) -> str:
    if channel is None:
        return ""
    if isinstance(channel, tuple):
        return f", channel {channel[0]} against {channel[1]}"
    return ", mean of channels" if channel == "average" else f", channel {channel}"


class Column(NamedTuple):
    """One of the table's: what stands in it and how it looks."""

    name: str
    cell: Callable[[ClipResult], str]
    justify: Literal["left", "right"] = "left"
    folds: bool = False
    style: Callable[[ClipResult], str] = lambda result: ""


def _columns(results: Sequence[ClipResult], several: bool) -> list[Column]:
    """several: machines, so that each row names its own and its threshold."""
    folder = _common_folder(results)
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
        Column("input", lambda v: "" if v.input == OK else v.input, style=lambda v: "bold yellow"),
        Column("windows\nabove", _windows_above, "right"),
        Column("", _remarks, folds=True, style=lambda v: "red" if v.error else "dim"),
    ]


def _common_folder(results: Sequence[ClipResult]) -> str | None:
    """The folder that all recordings lie in, where there are several: their names are long enough without it."""
    if len(results) < 2 or len({result.path.is_absolute() for result in results}) > 1:
        return None
    return os.path.commonpath([result.path.parent for result in results]) or None


def _label(result: ClipResult) -> str:
    """Empty where nobody gave one."""
    return LABEL_WORDS.get(result.asked.label, "") if result.asked.label is not None else ""


def _decision(result: ClipResult) -> str:
    return "not judged" if result.error else result.decision or "no threshold"


def _windows_above(result: ClipResult) -> str:
    if result.error or result.windows_above is None or len(result.scores) < 2:
        return ""
    return f"{result.windows_above} of {len(result.scores)}"


def _remarks(result: ClipResult) -> str:
    """Of an anomaly by a fused scorer also the member that it is oddest to."""
    oddest = [f"most by {name}: {value:.1f}" for name, value in [*result.members.items()][:1]]
    return result.error or ", ".join([*result.all_remarks, *(oddest if result.decision == "anomaly" else [])])


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _name(result: ClipResult) -> str:
    """The same place by a name that no spreadsheet takes for a formula."""
    name = printable(path_text(result.path))
    return f"./{name}" if name.startswith(("=", "+", "-", "@")) else name


def _row(result: ClipResult) -> dict[str, Any]:
    heard = result.error is None
    return {
        "file": _name(result),
        "seconds": result.seconds,
        "score": result.score,
        "threshold": result.threshold,
        "decision": result.decision,
        "input": result.input,
        "windows": len(result.scores) if heard else None,
        "windows_above": result.windows_above if heard else None,
        "remarks": "; ".join(result.all_remarks),
        "error": result.error,
        "machine_type": result.machine.machine_type,
        "machine_id": result.machine.machine_id,
        "label": _label(result) or None,
    }


def _timeline(result: ClipResult) -> dict[str, Any]:
    """Score over time, where a recording was heard in windows."""
    if result.error is not None or len(result.scores) < 2:
        return {}
    pairs = zip(result.begins_s, result.scores, strict=True)
    return {"timeline": [{"begin_s": begin, "score": score} for begin, score in pairs]}


def _members(result: ClipResult) -> dict[str, Any]:
    return {"members": result.members} if result.members else {}


def _why(result: ClipResult) -> dict[str, Any]:
    return {} if result.why is None else {"why": as_numbers(result.why)}


def _csv(results: Sequence[ClipResult]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(result) for result in results)
    return text.getvalue()
