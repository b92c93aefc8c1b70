"""The recordings to be scored, each with its machine: files and folders of one machine, or the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.audio.listing import find_recordings, on_disk
from asd.data.manifest import LABELS
from asd.detector import DetectorFile
from asd.errors import UserError
from asd.files.csv_table import Row, one_of, path_in, read_table

COLUMNS = ("path", "machine_type", "machine_id", "label")


@dataclass(frozen=True)
class Asked:
    """A recording that is to be judged."""

    path: Path
    own: int  # class of its machine in the detector
    label: int | None = None  # LABEL_…; None where nobody gave one
    row: str = ""  # of a table, where it stands there
    note: str = ""  # on its machine, where that had to be found out


def is_table(recordings: Sequence[Path]) -> bool:
    """Whether the recordings are named by a csv, which must then be alone."""
    tables = [place for place in recordings if place.suffix.lower() == ".csv" and not place.is_dir()]
    if tables and len(recordings) > 1:
        raise UserError(f"{tables[0]} is a table of recordings: name it alone, without other files and folders")
    return bool(tables)


def of_one_machine(
    file: DetectorFile, recordings: Sequence[Path], machine: str | None, id_: str | None
) -> tuple[list[Asked], str]:
    """All recordings in files and folders, and in words what was skipped there, which may be nothing.

    UserError where the machine is not known.
    """
    own = file.class_index(machine, id_)
    found = find_recordings(recordings)
    return [Asked(path, own) for path in found.files], found.passed_in_words() if found.passed else ""


def of_table(file: DetectorFile, table: Path, machine: str | None, id_: str | None) -> list[Asked]:
    """The rows of a csv. A machine's type or ID may be left out where the detector has one that fits.

    Paths are relative to the table; columns of other names, such as a training table has, are not looked at. UserError
    names the table and the line.
    """
    if machine is not None or id_ is not None:
        raise UserError(f"--machine and --id are for files and folders: {table} names the machine of each recording")
    asked = [_asked(file, table, where, row) for where, row in read_table(table, COLUMNS[:1], COLUMNS[1:], others=True)]
    if not asked:
        raise UserError(f"{table} lists no recording")
    return asked


def _asked(file: DetectorFile, table: Path, where: str, row: Row) -> Asked:
    if not row["path"]:
        raise UserError(f"{where}: it names no path")
    label = one_of(row, "label", ("", *LABELS), where) if "label" in row else ""
    machine, id_ = row.get("machine_type") or None, row.get("machine_id") or None
    try:
        own = file.class_index(machine, id_)
    except UserError:
        known = ", ".join(map(str, file.classes))
        raise UserError(
            f"{where}: {machine or '?'}/{id_ or '?'} is not a machine of the detector: it has {known}"
        ) from None
    path = path_in(table, row["path"], where)
    return Asked(on_disk(path) or path, own, LABELS[label] if label else None, where)
