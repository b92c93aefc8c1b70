"""Own recordings through a table: a csv with one line per clip. Its columns stand in docs/data.md."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from asd.data.manifest import DOMAINS, LABEL_ANOMALY, LABEL_NORMAL, LABEL_UNKNOWN, SPLITS
from asd.errors import UserError
from shards.sources import SourceClip, make_key

REQUIRED = ("path", "machine_type", "machine_id", "split", "label")
OPTIONAL = ("domain", "attributes")
LABELS = {
    "normal": LABEL_NORMAL,
    "anomaly": LABEL_ANOMALY,
    "unknown": LABEL_UNKNOWN,
    "0": LABEL_NORMAL,
    "1": LABEL_ANOMALY,
    "-1": LABEL_UNKNOWN,
}


def table(sources: Sequence[Path]) -> list[SourceClip]:
    """The clips of csv files; paths in them are relative to the csv. Raises UserError with file and line."""
    clips = []
    for source in sources:
        if not source.is_file():
            raise UserError(f"--source {source} is not a file: the layout table takes a csv")
        found = list(_clips(source))
        if not found:
            raise UserError(f"{source} lists no clip")
        clips += found
    return clips


def _clips(source: Path) -> Iterator[SourceClip]:
    with source.open(newline="", encoding="utf-8-sig") as file:  # Excel puts a byte order mark first
        reader = csv.DictReader(file, strict=True)
        try:
            _check_columns(source, reader.fieldnames or ())
            for row in reader:
                yield _clip(source, f"{source}:{reader.line_num}", row)
        except csv.Error as error:
            raise UserError(f"{source}:{reader.line_num}: {error}") from None
        except UnicodeDecodeError:
            raise UserError(f"{source} is not UTF-8 text: save it as UTF-8 csv") from None


def _check_columns(source: Path, names: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    unknown = [name for name in names if name not in REQUIRED + OPTIONAL]
    if missing or unknown or len(set(names)) < len(names):
        raise UserError(
            f"{source}:1: the first line must name the columns {','.join(REQUIRED)} and may name {','.join(OPTIONAL)}, "
            f"separated by commas; it is {','.join(names)!r}"
        )


def _clip(source: Path, where: str, row: dict[str, str]) -> SourceClip:
    if None in row or None in row.values():
        raise UserError(f"{where}: the line has another number of cells than the first line")
    row = {name: cell.strip() for name, cell in row.items()}
    path = source.parent / _filled(row, "path", where)
    if not path.is_file():
        raise UserError(f"{where}: there is no file {path}")
    machine_type, machine_id = _filled(row, "machine_type", where), _filled(row, "machine_id", where)
    split = _one_of(row, "split", SPLITS, where)
    label = LABELS[_one_of(row, "label", tuple(LABELS), where)]
    if split == "train" and label != LABEL_NORMAL:
        raise UserError(f"{where}: training is on normal sounds only, the label is {row['label']!r}: put it into test")
    place = row["path"].removesuffix(path.suffix).replace("/", "-").strip("-")
    key = make_key(machine_type, split, machine_id, place)
    domain = _one_of(row, "domain", DOMAINS, where) if "domain" in row else ""
    attributes = row.get("attributes", "")
    return SourceClip(path, key, machine_type, machine_id, split, label, row["path"], domain, attributes)


def _filled(row: dict[str, str], name: str, where: str) -> str:
    if not row[name]:
        raise UserError(f"{where}: {name} is empty")
    return row[name]


def _one_of(row: dict[str, str], name: str, words: Sequence[str], where: str) -> str:
    word = row[name].lower()
    if word not in words:
        allowed = ", ".join(word or "(empty)" for word in words)
        raise UserError(f"{where}: {name} is {row[name]!r}, not one of {allowed}")
    return word
