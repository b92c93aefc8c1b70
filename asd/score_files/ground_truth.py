"""Who is normal and of which domain: the organisers' ground-truth files, or file names that say it themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from asd.errors import UserError
from asd.metrics.clip_scores import ANOMALY, NORMAL
from asd.metrics.official import SOURCE, TARGET
from asd.score_files.names import GROUND_TRUTH, FileKey, find_files, some
from asd.score_files.rows import flag, read_flags, read_rows, refuse_repeated

LABEL_FOLDER, DOMAIN_FOLDER = "ground_truth_data", "ground_truth_domain"
NOT_LABELS = (DOMAIN_FOLDER, "ground_truth_attributes")
DATA_LIST = "eval_data_list.csv"
DOMAIN_CODES = {0: SOURCE, 1: TARGET}

LABELS = {"normal": NORMAL, "anomaly": ANOMALY}
NAME_2020 = re.compile(r"(normal|anomaly)_id_(\d\d)_\d+\.wav()")
NAME_FROM_2021 = re.compile(r"section_(\d\d)_(source|target)_test_(normal|anomaly)_\d+(?:_.*)?\.wav")
RELEASED_2020 = re.compile(r"id_(\d\d)_\d+\.wav")


class Truth(NamedTuple):
    """Of one clip: 1 anomaly, 0 normal; `source`, `target` or empty (2020)."""

    label: int
    domain: str


Truths = dict[str, Truth]  # file name → truth


def read_ground_truth(layout: str, where: Path) -> dict[FileKey, Truths]:
    """The truth of every section (2021: section and domain) in a folder or, for 2020, file.

    Raises UserError where nothing is found, files contradict each other or a value is neither 0 nor 1.
    """
    if not where.exists():
        raise UserError(f"--ground-truth {where} does not exist")
    if layout == "dcase2020":
        return _read_data_list(_data_list(where))
    if not where.is_dir():
        raise UserError(f"--ground-truth {where} is a file: name the folder that holds {LABEL_FOLDER}")
    labels = {key: (path, read_flags(path)) for key, path in _label_files(layout, where).items()}
    if layout == "dcase2021":
        return {key: {n: Truth(v, key.domain) for n, v in own.items()} for key, (_, own) in labels.items()}
    domains = find_files(GROUND_TRUTH, layout, _domain_folder(where))
    return {key: _with_domains(own, path, domains.get(key)) for key, (path, own) in labels.items()}


def truths_from_names(layout: str, key: FileKey, names: Iterable[str], path: Path) -> Truths:
    """The truth that development clips carry in their names.

    Raises UserError that lists the names of `path` which do not say it, or belong to another section or domain.
    """
    truths = {name: _truth_in_name(layout, key, name) for name in names}
    silent = [name for name, truth in truths.items() if truth is None]
    if silent:
        form = (
            "(normal|anomaly)_id_II_N.wav" if layout == "dcase2020" else "section_SS_DOMAIN_test_(normal|anomaly)_N.wav"
        )
        raise UserError(f"{path}: {len(silent)} names are not of the form {form} for {key}: {some(silent)}")
    return {name: truth for name, truth in truths.items() if truth is not None}


def _truth_in_name(layout: str, key: FileKey, name: str) -> Truth | None:
    match = (NAME_2020 if layout == "dcase2020" else NAME_FROM_2021).fullmatch(name)
    if match is None:
        return None
    label, section, domain = match.groups() if layout == "dcase2020" else (match[3], match[1], match[2])
    ours = section == key.section and key.domain in ("", domain)
    return Truth(LABELS[label], domain) if ours else None


# ---- from 2021: one file a section ---------------------------------------------------------------------------------


def _label_files(layout: str, where: Path) -> dict[FileKey, Path]:
    """The files in the one ground_truth_data folder, or, without such a folder, lying about in `where`."""
    files = find_files(GROUND_TRUTH, layout, _one_folder(where, LABEL_FOLDER) or where, NOT_LABELS)
    if not files:
        raise UserError(f"--ground-truth {where} holds no {GROUND_TRUTH}_<machine>_….csv, in it or below")
    return files


def _domain_folder(where: Path) -> Path:
    beside = where.resolve().parent / DOMAIN_FOLDER  # `where` is ground_truth_data itself
    found = _one_folder(where, DOMAIN_FOLDER)
    if found is None and where.resolve().name == LABEL_FOLDER and beside.is_dir():
        found = beside
    if found is None:
        raise UserError(f"--ground-truth {where}: no {DOMAIN_FOLDER} folder in it; the domains are needed from 2022 on")
    return found


def _one_folder(where: Path, name: str) -> Path | None:
    if where.resolve().name == name:
        return where
    found = sorted(path for path in where.rglob(name) if path.is_dir())
    if len(found) > 1:
        raise UserError(f"--ground-truth {where} holds several {name} folders: name one year's ({some(found)})")
    return found[0] if found else None


def _with_domains(labels: dict[str, int], path: Path, domain_path: Path | None) -> Truths:
    if domain_path is None:
        raise UserError(f"{path} has no counterpart in {DOMAIN_FOLDER}: without domains it cannot be evaluated")
    domains = read_flags(domain_path)
    if odd := sorted(labels.keys() ^ domains.keys()):
        raise UserError(f"{path} and {domain_path} name different clips: {some(odd)}")
    return {name: Truth(label, DOMAIN_CODES[domains[name]]) for name, label in labels.items()}


# ---- 2020: one list of all machines --------------------------------------------------------------------------------


def _data_list(where: Path) -> Path:
    if where.is_file():
        return where
    found = sorted(where.rglob(DATA_LIST))
    if len(found) != 1:
        what = f"several ({some(found)})" if found else "none"
        raise UserError(f"--ground-truth {where} must hold one {DATA_LIST}, in it or below, and holds {what}")
    return found[0]


def _read_data_list(path: Path) -> dict[FileKey, Truths]:
    """Blocks of `released name,original name,label`, each after a line with nothing but the machine type."""
    found: dict[FileKey, list[tuple[str, Truth]]] = {}
    machine = ""
    for line, fields in read_rows(path):
        if len([field for field in fields if field]) == 1 and fields[0]:
            machine = fields[0]
            continue
        released = RELEASED_2020.fullmatch(fields[0])
        if len(fields) != 3 or released is None or not machine:
            raise UserError(
                f"{path}, line {line}: {','.join(fields)!r} is neither a machine type nor "
                "`id_II_N.wav,original name,label` below one"
            )
        found.setdefault(FileKey(machine, released[1]), []).append((fields[0], Truth(flag(path, line, fields[2]), "")))
    for rows in found.values():
        refuse_repeated(path, (name for name, _ in rows))
    return {key: dict(rows) for key, rows in found.items()}
