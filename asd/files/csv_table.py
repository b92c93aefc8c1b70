"""Tables of recordings: csv files whose first line names their columns."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from asd.errors import UserError
from asd.files.paths import user_path

Row = dict[str, str]  # column → cell, without blanks around it


def read_table(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), others: bool = False
) -> Iterator[tuple[str, Row]]:
    """(`path:line`, row) of each line below the first.

    others: columns of other names may stand there, and are left out. Raises UserError, with the place, where there is
    no regular file, no csv in UTF-8 (with or without a byte order mark), or a line does not fit the first one.
    """
    if not path.exists():
        raise UserError(f"there is no file or folder {path}")
    if not path.is_file():
        raise UserError(f"{path} is not a regular file: name a csv")  # to open a pipe would wait for its writer
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            _check_columns(path, reader.fieldnames or (), required, optional, others)
            for cells in reader:
                where = f"{path}:{reader.line_num}"
                if None in cells or None in cells.values():
                    raise UserError(f"{where}: the line has another number of cells than the first line")
                if any(map(str.strip, cells.values())):  # spreadsheets leave `,,,,` behind their last line
                    yield where, {name: cells[name].strip() for name in (*required, *optional) if name in cells}
        except csv.Error as error:
            raise UserError(f"{path}:{reader.line_num}: {error}") from None
        except UnicodeDecodeError:
            raise UserError(f"{path} is not UTF-8 text: save it as UTF-8 csv") from None


def _check_columns(
    path: Path, names: Sequence[str], required: Sequence[str], optional: Sequence[str], others: bool
) -> None:
    missing = [name for name in required if name not in names]
    unknown = [name for name in names if name not in (*required, *optional)]
    if missing or (unknown and not others) or len(set(names)) < len(names):
        may = f" and may name {','.join(optional)}" if optional else ""
        raise UserError(
            f"{path}:1: the first line must name the columns {','.join(required)}{may}, separated by commas; "
            f"it is {','.join(names)!r}"
        )


def path_in(table: Path, text: str, where: str) -> Path:
    """The path that a cell names, relative to its table: in UTF-8, as the table is, or else as the locale has it."""
    try:
        as_table = table.parent / user_path(os.fsdecode(text.encode()))
        return as_table if os.path.lexists(as_table) else table.parent / user_path(text)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def one_of(row: Row, name: str, words: Sequence[str], where: str) -> str:
    """A cell that is one of these words, in any case; UserError where it is none."""
    word = row[name].lower()
    if word not in words:
        allowed = ", ".join(word or "(empty)" for word in words)
        raise UserError(f"{where}: {name} is {row[name]!r}, not one of {allowed}")
    return word
