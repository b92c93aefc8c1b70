"""The names of score and decision files, by layout, as the organisers' evaluators and baselines have them.

Submissions        2020 `<kind>_<machine>_id_<II>.csv`, 2021 `<kind>_<machine>_section_<SS>_<domain>_test.csv`,
                   from 2022 `<kind>_<machine>_section_<SS>_test.csv`
Their baseline     `<kind>_DCASE<year>T2<machine>_section_<SS>_test_seed<seed>_<tag>_Eval.csv`, of any year (in 2020 the
(since 2023)       section is the machine ID, in 2021 one file has both domains); tag and Eval may be missing
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from asd.dcase.rules import LAYOUTS
from asd.errors import UserError
from asd.files.walk import walk

SCORES, DECISIONS = "anomaly_score", "decision_result"

_BASELINE = re.compile(r"DCASE(\d{4})T2(.+)_section_(\d\d)()_test(?:_seed\d+.*)?\.csv")
_FROM_2022 = re.compile(r"(.+)_section_(\d\d)()(?:_test)?(?:_seed\d+.*)?\.csv")  # the evaluator of 2022 names both
_PATTERNS = {
    "dcase2020": re.compile(r"(.+)_id_(\d\d)()(?:_.*)?\.csv"),  # what follows the ID is free in that year's evaluator
    "dcase2021": re.compile(r"(.+)_section_(\d\d)_(source|target)_test\.csv"),
}
_EXAMPLE_FROM_2022 = "{kind}_<machine>_section_<SS>_test.csv"
_EXAMPLES = {
    "dcase2020": "{kind}_<machine>_id_<II>.csv",
    "dcase2021": "{kind}_<machine>_section_<SS>_<source or target>_test.csv",
}


@dataclass(frozen=True, order=True)
class FileKey:
    """What a file is about; domain is empty but in 2021, and there, too, where one file has both."""

    machine_type: str
    section: str
    domain: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.machine_type, self.section, self.domain)))

    @property
    def whole(self) -> FileKey:
        """The section with all its domains."""
        return FileKey(self.machine_type, self.section)


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
    if not name.startswith(f"{kind}_"):
        return None
    name = name.removeprefix(f"{kind}_")
    if baseline := _BASELINE.fullmatch(name):
        year, *parts = baseline.groups()
        return FileKey(*parts) if layout == f"dcase{year}" else None
    match = _PATTERNS.get(layout, _FROM_2022).fullmatch(name)
    return FileKey(*match.groups()) if match else None


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
            raise UserError(f"{path} is not named as a {layout} file: {_remedy(kind, layout, path.name)}")
        # In 2021 a file of both domains has the clips of either.
        same = (other for other in found if key in (other, other.whole) or other == key.whole)
        if twice := next((found[other] for other in same), None):
            raise UserError(f"{twice} and {path} are about the same clips ({key}): give one folder of files")
        found[key] = path
    return dict(sorted(found.items()))


def _remedy(kind: str, layout: str, name: str) -> str:
    """The layout whose rule the name follows, or how to name it."""
    fits = [other for other in LAYOUTS if parse_name(kind, other, name)]
    if fits:
        return f"use --layout {fits[0]}{' or later' if len(fits) > 1 else ''}"
    return f"name it {_EXAMPLES.get(layout, _EXAMPLE_FROM_2022).format(kind=kind)}"
