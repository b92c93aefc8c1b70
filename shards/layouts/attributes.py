"""The attributes of clips as `attributes_SS.csv` tells them (DCASE 2022 and later): `file_name,d1p,d1v,d2p,d2v,…`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from asd.data.manifest import LABEL_UNKNOWN
from asd.errors import UserError
from shards.layouts.clip import Corpus

HIDDEN = "noAttribute"  # what stands for attributes that the organisers do not tell
NOTHING = ("", HIDDEN)


def with_pairs(corpus: Corpus) -> None:
    """Give every clip the pairs of the attributes_SS.csv in its machine's folder as `key=value,key=value`.

    Without that file the string of the name stays. A labelled clip that is missing in it keeps its string too, and a
    remark says so; clips of an evaluation set need not be in it.
    """
    tables: dict[Path, dict[str, str] | None] = {}
    unlisted = []
    for index, clip in enumerate(corpus.clips):
        path = clip.path.parent.parent / f"attributes_{clip.machine_id}.csv"
        if path not in tables:
            tables[path] = read_attributes(path) if path.is_file() else None
        table = tables[path]
        if table is None:
            continue
        if clip.path.stem in table:
            corpus.clips[index] = replace(clip, attributes=table[clip.path.stem])
        elif clip.label != LABEL_UNKNOWN:
            unlisted.append(clip)
    if unlisted:
        corpus.notes["attributes_from_name"] = len(unlisted)
        corpus.remarks.append(
            f"warning: {len(unlisted)} clips are missing from the attributes csv of their machine and take the "
            f"attributes in their names, first: {unlisted[0].path}"
        )


def read_attributes(path: Path) -> dict[str, str]:
    """File name without folder and `.wav` → `key=value,key=value`, empty where nothing is told.

    Raises UserError with file and line where the first line is another, or a clip comes twice.
    """
    found: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            if not (header := next(reader, [])) or header[0].strip() != "file_name":
                raise UserError(f"{path}:1: the first line must begin with file_name")
            for cells in filter(None, reader):
                # the folder and .wav are there in some years and not in others; a value may hold dots
                name = PurePosixPath(cells[0].strip()).name.removesuffix(".wav")
                if name in found:
                    raise UserError(f"{path}:{reader.line_num}: {name} is listed twice")
                found[name] = _pairs(cells[1:])
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}:{reader.line_num}: {error}") from None
    return found


def _pairs(cells: Sequence[str]) -> str:
    """A `.wav` at the end of a value leaked there from the name; what stands for nothing is dropped."""
    words = [cell.strip().removesuffix(".wav") for cell in cells]
    pairs = zip(words[::2], words[1::2], strict=False)  # lines are not filled up, and may end in another column
    return ",".join(f"{key}={value}" for key, value in pairs if key not in NOTHING and value not in NOTHING)
