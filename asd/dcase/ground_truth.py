"""Labels and domains of evaluation clips, from files as the organisers' evaluators keep them.

2020            eval_data_list.csv: a machine type alone on a line, then `released name,original name,0 or 1` a clip
2021            ground_truth_data/ground_truth_<type>_section_<SS>_<domain>_test.csv: `name,0 or 1` (1: anomaly)
2022 and later  ground_truth_data/ground_truth_<type>_section_<SS>_test.csv, and the same names and clips in
                ground_truth_domain/ (1: target)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from asd.dcase.csv_rows import check_repeated, flag, read_flags, read_rows, some
from asd.errors import UserError
from asd.files.walk import walk

LIST = "eval_data_list.csv"
LABELS_FOLDER, DOMAINS_FOLDER, ATTRIBUTES_FOLDER = "ground_truth_data", "ground_truth_domain", "ground_truth_attributes"
SECTION_FILE = re.compile(r"ground_truth_(.+)_section_(\d\d)(?:_(source|target))?_test\.csv")
SECTION_NAME = "ground_truth_<type>_section_<SS>_test.csv (2021: …_<SS>_<domain>_test.csv)"
RELEASED_2020 = re.compile(r"id_(\d\d)_\d+\.wav")
DOMAINS = ("source", "target")  # as the files number them

Clip = tuple[str, str, str]  # machine type, machine ID or section, file name
Value = TypeVar("Value", int, str)


class Truth(NamedTuple):
    """Of one clip: 1 anomaly, 0 normal; `source`, `target` or empty (2020)."""

    label: int
    domain: str


def read_ground_truth(places: Iterable[Path]) -> dict[Clip, Truth]:
    """The truth of every clip that is named in files, or in and below folders.

    ground_truth_data brings along the ground_truth_domain beside it. Raises UserError for a place without ground truth,
    with file and line for a line that is none, for a clip that comes twice, and for a label without domain or a domain
    without label from 2022 on.
    """
    labels: dict[Clip, tuple[int, Path]] = {}
    domains: dict[Clip, tuple[str, Path]] = {}
    for path in dict.fromkeys(file for place in places for file in _files(place)):
        match = SECTION_FILE.fullmatch(path.name)
        flags = _read_list(path) if match is None else _read_section(path, match)
        known_domain = "" if match is None else match[3]
        if known_domain is None and path.parent.name == DOMAINS_FOLDER:
            _add(domains, {clip: DOMAINS[value] for clip, value in flags.items()}, path)
            continue
        _add(labels, flags, path)
        if known_domain is not None:
            _add(domains, dict.fromkeys(flags, known_domain), path)
    _check_alone(labels, domains, "a label and no domain")
    _check_alone(domains, labels, "a domain and no label")
    return {clip: Truth(label, domains[clip][0]) for clip, (label, _) in labels.items()}


def read_released_names(place: Path) -> dict[Clip, str]:
    """(machine type, section, original name) → the name that the clip was released under.

    The organisers' baseline puts evaluation clips back under their original names, and their evaluators read such
    score files, too. 2020: from the list; from 2023: from ground_truth_attributes beside the labels.
    """
    folders = [place.parent, place] if place.name == LABELS_FOLDER else [place]
    names: dict[Clip, str] = {}
    for path in [place] if place.is_file() else [file for folder in folders for file in sorted(folder.rglob("*.csv"))]:
        match = SECTION_FILE.fullmatch(path.name)
        if path.name == LIST:
            names |= {(*clip[:2], original): clip[2] for clip, original, _ in _list_lines(path)}
        elif match is not None and path.parent.name == ATTRIBUTES_FOLDER:
            rows = (fields for _, fields in read_rows(path) if len(fields) == 2)
            names |= {(match[1], match[2], f"{row[1].removesuffix('.wav')}.wav"): row[0] for row in rows}
    return names


def _files(place: Path) -> list[Path]:
    place = place.resolve()
    if not place.exists():
        raise UserError(f"--ground-truth {place} does not exist")
    if place.is_file():
        return [place]
    folders = [place, place.parent / DOMAINS_FOLDER] if place.name == LABELS_FOLDER else [place]
    files = [path for folder in folders if folder.is_dir() for path in walk(folder).files if _is_ground_truth(path)]
    if not files:
        raise UserError(f"--ground-truth {place} holds neither {LIST} nor {SECTION_NAME}")
    return files


def _is_ground_truth(path: Path) -> bool:
    """Label, domain and attribute files of a machine bear the same name: only the folder tells which it is."""
    named = path.name.startswith("ground_truth_") and path.suffix.lower() == ".csv"
    return path.name == LIST or (named and ATTRIBUTES_FOLDER not in path.parts)


def _read_section(path: Path, match: re.Match[str]) -> dict[Clip, int]:
    return {(match[1], match[2], name): value for name, value in read_flags(path).items()}


def _read_list(path: Path) -> dict[Clip, int]:
    """2020: blocks of `released name,original name,label`, each after a line with nothing but the machine type."""
    found = _list_lines(path)
    if not found:
        raise UserError(f"{path} lists no clip")
    check_repeated(path, ("/".join(clip) for clip, _, _ in found))
    return {clip: label for clip, _, label in found}


def _list_lines(path: Path) -> list[tuple[Clip, str, int]]:
    """(clip, original name, label) of every line."""
    found: list[tuple[Clip, str, int]] = []
    machine_type = ""
    for line, fields in read_rows(path):
        if fields[0] and not any(fields[1:]) and not fields[0].endswith(".wav"):
            machine_type = fields[0]
            continue
        released = RELEASED_2020.fullmatch(fields[0])
        if len(fields) != 3 or released is None or not machine_type:
            meant = "" if path.name == LIST else f"; ground truth from 2021 on is named {SECTION_NAME}"
            raise UserError(
                f"{path}, line {line}: {','.join(fields)!r} is neither a machine type nor "
                f"`id_II_N.wav,original name,label` below one{meant}"
            )
        found.append(((machine_type, released[1], fields[0]), fields[1], flag(path, line, fields[2])))
    return found


def _add(found: dict[Clip, tuple[Value, Path]], values: Mapping[Clip, Value], path: Path) -> None:
    for clip, value in values.items():
        if clip in found:
            raise UserError(
                f"{path}: {'/'.join(clip)} has ground truth already, in {found[clip][1]}: name one year's, once"
            )
        found[clip] = value, path


def _check_alone(these: Mapping[Clip, tuple[object, Path]], those: Mapping[Clip, object], what: str) -> None:
    if alone := sorted(these.keys() - those.keys()):
        raise UserError(
            f"{len(alone)} clips have {what}, the first in {these[alone[0]][1]}: {some('/'.join(c) for c in alone)}; "
            f"from 2022 on {LABELS_FOLDER} and {DOMAINS_FOLDER} are needed, both of them whole"
        )
