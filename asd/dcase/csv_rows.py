"""The rows `file.wav,value` of score, decision and ground-truth files. LF or CRLF; empty lines are skipped."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from asd.errors import UserError

Rows = list[tuple[int, list[str]]]  # line number, fields
SHOWN_NAMES = 10


def read_rows(path: Path) -> Rows:
    """The lines that hold something, fields stripped; UserError where the file is no csv text or has no such line."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a regular file")  # to open a pipe would wait for its writer
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle)
            rows = [(reader.line_num, [field.strip() for field in fields]) for fields in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a csv text file: {error}") from None
    rows = [(line, fields) for line, fields in rows if any(fields)]
    if not rows:
        raise UserError(f"{path} is empty")
    return rows


def read_scores(path: Path) -> dict[str, float]:
    """File name → score. Raises UserError on a header, another number of fields, and what is no finite number."""
    scores = {}
    for line, name, text in _pairs(path):
        value = _number(text)
        if value is None or not math.isfinite(value):
            raise UserError(f"{path}, line {line}: the score is {text!r}, not a finite number")
        scores[name] = value
    return scores


def read_flags(path: Path) -> dict[str, int]:
    """File name → 0 or 1. Raises UserError as `read_scores`, and on other numbers."""
    return {name: flag(path, line, text) for line, name, text in _pairs(path)}


def flag(path: Path, line: int, text: str) -> int:
    """0 or 1, also as 0.0 or 1.0; UserError on all else."""
    if _number(text) not in (0.0, 1.0):
        raise UserError(f"{path}, line {line}: {text!r} is neither 0 nor 1")
    return int(float(text))


def check_repeated(path: Path, names: Iterable[str]) -> None:
    """UserError that names the files with more than one row."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(f"{path}: {len(repeated)} file names have more than one row: {some(repeated)}")


def _pairs(path: Path) -> list[tuple[int, str, str]]:
    rows = read_rows(path)
    for number, (line, fields) in enumerate(rows):
        if len(fields) != 2:
            raise UserError(f"{path}, line {line}: {len(fields)} fields instead of a file name and a number")
        if number == 0 and not fields[0].endswith(".wav") and _number(fields[1]) is None:
            raise UserError(f"{path}, line {line} is a header ({','.join(fields)}): score files have none, delete it")
    check_repeated(path, (fields[0] for _, fields in rows))
    return [(line, fields[0], fields[1]) for line, fields in rows]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def some(names: Iterable[object]) -> str:
    """A few names for a message, and how many there are beside them."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - SHOWN_NAMES} more" if len(listed) > SHOWN_NAMES else ""
    return ", ".join(listed[:SHOWN_NAMES]) + more
