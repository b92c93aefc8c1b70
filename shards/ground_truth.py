"""Labels of evaluation sets, which their recordings do not carry, from the files of the official evaluators.

2020            eval_data_list.csv: a machine type alone on a line, then `released name,original name,0 or 1` a clip
2021            ground_truth_data/ground_truth_<type>_section_<SS>_<domain>_test.csv: `name,0 or 1` (1: anomaly)
2022 and later  ground_truth_data/ground_truth_<type>_section_<SS>_test.csv, and the same name with the same lines in
                ground_truth_domain/ (1: target)

Clips are found by their file names, never by their order.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL, LABEL_UNKNOWN
from asd.errors import UserError
from shards.layouts.clip import Corpus, SourceClip, first_few

LIST = "eval_data_list.csv"
LABELS_FOLDER, DOMAINS_FOLDER = "ground_truth_data", "ground_truth_domain"
SECTION_FILE = re.compile(r"ground_truth_(.+)_section_(\d\d)(?:_(source|target))?_test\.csv")
NAME_2020 = re.compile(r"id_(\d\d)_\d{8}\.wav")
LABELS = {"0": LABEL_NORMAL, "1": LABEL_ANOMALY}
DOMAINS = {"0": "source", "1": "target"}
EXPECTED = f"{LIST}, or {LABELS_FOLDER} and {DOMAINS_FOLDER} with ground_truth_<type>_section_<SS>_test.csv"

Machine = tuple[str, str]  # machine type, machine ID or section
Clip = tuple[str, str, str]  # machine type, machine ID or section, file name
Truth = dict[Clip, tuple[int, str]]  # label; domain, "" in 2020
Value = TypeVar("Value", int, str)


def join_ground_truth(corpus: Corpus, places: Sequence[Path]) -> Corpus:
    """The corpus with label and domain of every unlabelled test clip of the machines that have ground truth.

    Machines without stay unlabelled, and a remark says so. Raises UserError where a name of a machine is in its ground
    truth or among its clips alone, where a domain contradicts a name, or where nothing fits at all.
    """
    truth = read_ground_truth(places)
    asked = _unlabelled(corpus)
    both = _machines(truth) & _machines(asked)
    if not both:
        raise UserError(
            f"the ground truth is of {_named(_machines(truth))}, of which these recordings have no unlabelled test "
            "clip: give the files of their year, or leave out --ground-truth"
        )
    _refuse_alone(truth, asked, both, "names in the ground truth are no unlabelled test clips")
    _refuse_alone(asked, truth, both, "unlabelled test clips are not in the ground truth of their machine")
    joined = truth.keys() & asked.keys()
    for name in joined:
        corpus.clips[asked[name]] = _labelled(corpus.clips[asked[name]], *truth[name])
    corpus.notes["labels_joined"] = len(joined)
    corpus.remarks += _remarks(truth, asked, both)
    return corpus


def _unlabelled(corpus: Corpus) -> dict[Clip, int]:
    """Where the clips without a label are."""
    return {
        (*clip.machine_class, clip.file_name): index
        for index, clip in enumerate(corpus.clips)
        if clip.label == LABEL_UNKNOWN
    }


def _labelled(clip: SourceClip, label: int, domain: str) -> SourceClip:
    if clip.domain not in ("", domain):
        raise UserError(f"the ground truth puts {clip.path} into the domain {domain!r}, its name into {clip.domain!r}")
    return replace(clip, label=label, domain=domain)


def _machines(clips: Iterable[Clip]) -> set[Machine]:
    return {(machine_type, machine_id) for machine_type, machine_id, _ in clips}


def _named(machines: Collection[Machine]) -> str:
    return first_few("/".join(machine) for machine in sorted(machines))


def _refuse_alone(these: Iterable[Clip], those: Collection[Clip], both: set[Machine], what: str) -> None:
    alone = sorted("/".join(clip) for clip in these if clip[:2] in both and clip not in those)
    if alone:
        raise UserError(f"{len(alone)} {what}: {first_few(alone)}; both must be of one year, and whole")


def _remarks(truth: Truth, asked: Iterable[Clip], both: set[Machine]) -> Iterator[str]:
    left = [clip for clip in asked if clip[:2] not in both]
    unused = _machines(truth) - both
    yield f"ground truth: {sum(clip[:2] in both for clip in truth)} labels for {len(both)} machines"
    if left:
        names = _named(_machines(left))
        yield f"odd: {len(left)} clips have no ground truth and stay unlabelled, those of {names}"
    if unused:
        yield f"odd: ground truth of {len(unused)} machines without an unlabelled clip here: {_named(unused)}"


def read_ground_truth(places: Sequence[Path]) -> Truth:
    """(machine type, machine ID or section, file name) → (label, domain), from files, and from folders all they hold.

    Raises UserError for a place without such a file, with file and line for a line that is none and for a clip that
    comes twice, and, from 2022, for clips with a label and no domain or a domain and no label.
    """
    labels: dict[Clip, int] = {}
    domains: dict[Clip, str] = {}
    for path in dict.fromkeys(file for place in places for file in _files(place)):
        known_domain = _known_domain(path)
        rows = list(_rows(path))
        if not rows:
            raise UserError(f"{path} names no clip")
        for where, clip, word in rows:
            if known_domain is not None:
                _add(labels, clip, LABELS[word], where)
                domains[clip] = known_domain
            elif path.parent.name == LABELS_FOLDER:
                _add(labels, clip, LABELS[word], where)
            else:
                _add(domains, clip, DOMAINS[word], where)
    if odd := sorted("/".join(clip) for clip in labels.keys() ^ domains.keys()):
        raise UserError(
            f"{len(odd)} clips of the ground truth have a label and no domain, or a domain and no label: "
            f"{first_few(odd)}; give both {LABELS_FOLDER} and {DOMAINS_FOLDER}"
        )
    return {clip: (label, domains[clip]) for clip, label in labels.items()}


def _files(place: Path) -> list[Path]:
    place = place.resolve()
    if not place.exists():
        raise UserError(f"--ground-truth {place} is not there")
    files = sorted(filter(_is_ground_truth, place.rglob("*.csv") if place.is_dir() else [place]))
    if not files:
        raise UserError(f"--ground-truth {place} is no ground truth and holds none: expected {EXPECTED}")
    return files


def _is_ground_truth(path: Path) -> bool:
    """From 2022 label and domain files of a machine bear the same name: only the folder tells which it is."""
    match = SECTION_FILE.fullmatch(path.name)
    if match is None:
        return path.name == LIST
    return match[3] is not None or path.parent.name in (LABELS_FOLDER, DOMAINS_FOLDER)


def _known_domain(path: Path) -> str | None:
    """The domain of all clips of a file: "" in 2020, in the file's name in 2021; None where another file tells it."""
    match = SECTION_FILE.fullmatch(path.name)
    return "" if match is None else match[3]


def _add(found: dict[Clip, Value], clip: Clip, value: Value, where: str) -> None:
    if clip in found:
        raise UserError(f"{where}: {'/'.join(clip)} has ground truth already: a name comes once")
    found[clip] = value


def _rows(path: Path) -> Iterator[tuple[str, Clip, str]]:
    """(file:line, clip, 0 or 1) of every clip that a file names."""
    match = SECTION_FILE.fullmatch(path.name)
    machine_type = match[1] if match else ""
    for where, cells in _lines(path):
        if match is None and len(cells) == 1 and not cells[0].endswith(".wav"):
            machine_type = cells[0]
            continue
        if len(cells) != (2 if match else 3) or cells[-1] not in LABELS or not machine_type:
            raise UserError(f"{where}: {','.join(cells)!r} is not a line of ground truth; expected {_expected(path)}")
        yield where, (machine_type, match[2] if match else _machine_id(where, cells[0]), cells[0]), cells[-1]


def _expected(path: Path) -> str:
    return "a machine type, or released name,original name,0 or 1" if path.name == LIST else "file name,0 or 1"


def _machine_id(where: str, name: str) -> str:
    match = NAME_2020.fullmatch(name)
    if match is None:
        raise UserError(f"{where}: {name} is not named id_II_NNNNNNNN.wav")
    return match[1]


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(file:line, cells) of the lines that are not blank."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            for cells in reader:
                if any(cells):
                    yield f"{path}:{reader.line_num}", [cell.strip() for cell in cells]
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}:{reader.line_num}: {error}") from None
