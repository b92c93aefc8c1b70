"""The names of score and decision files, by layout.

2020 `<kind>_<machine>_id_<II>.csv`, 2021 `<kind>_<machine>_section_<SS>_<domain>_test.csv`, from 2022 without domain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from asd.errors import UserError
from asd.metrics.official import LAYOUTS
from asd.walk import walk

SCORES, DECISIONS = "anomaly_score", "decision_result"

_FROM_2022 = re.compile(r"(.+)_section_(\d\d)()_test\.csv")
_PATTERNS = {
    "dcase2020": re.compile(r"(.+)_id_(\d\d)()\.csv"),
    "dcase2021": re.compile(r"(.+)_section_(\d\d)_(source|target)_test\.csv"),
}


@dataclass(frozen=True, order=True)
class FileKey:
    """What a file is about; domain is empty but in 2021."""

    machine_type: str
    section: str
    domain: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.machine_type, self.section, self.domain)))


def file_name(kind: str, layout: str, key: FileKey) -> str:
    """The official name of a file; UserError where the key has no such name."""
    if layout == "dcase2020":
        name = f"{kind}_{key.machine_type}_id_{key.section}.csv"
    else:
        words = [
            kind,
            key.machine_type,
            "section",
            key.section,
            *([key.domain] if layout == "dcase2021" else []),
            "test",
        ]
        name = "_".join(words) + ".csv"
    if "/" in name or parse_name(kind, layout, name) != key:
        raise UserError(
            f"{key} cannot be named as a {layout} file ({name}): a type holds no slash, a machine ID has two digits"
        )
    return name


def parse_name(kind: str, layout: str, name: str) -> FileKey | None:
    """The key of a file name; None where it is not named by the layout's rule."""
    match = _PATTERNS.get(layout, _FROM_2022).fullmatch(name.removeprefix(f"{kind}_"))
    return FileKey(*match.groups()) if match and name.startswith(f"{kind}_") else None


def find_files(kind: str, layout: str, folder: Path) -> dict[FileKey, Path]:
    """All files of a kind in and below a folder, sorted by key.

    Raises UserError where a name does not fit the layout or two files are about the same.
    """
    found: dict[FileKey, Path] = {}
    for path in walk(folder).files:
        if not path.name.lower().startswith(f"{kind}_") or path.suffix.lower() != ".csv":
            continue
        key = parse_name(kind, layout, path.name)
        if key is None:
            raise UserError(f"{path} is not named as a {layout} file{_other_layout(kind, path.name)}")
        if key in found:
            raise UserError(f"{found[key]} and {path} are about the same clips ({key}): give one folder of files")
        found[key] = path
    return dict(sorted(found.items()))


def _other_layout(kind: str, name: str) -> str:
    fits = [layout for layout in LAYOUTS if parse_name(kind, layout, name)]
    return f": use --layout {fits[0]}{' or later' if len(fits) > 1 else ''}" if fits else ""
