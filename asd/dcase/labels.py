"""Label and domain of the clips of every score file, from ground truth or from file names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from asd.dcase.csv_rows import some
from asd.dcase.file_names import FileKey
from asd.dcase.ground_truth import Truth, read_ground_truth
from asd.dcase.halves import NAME_2020, NAME_FROM_2021
from asd.errors import UserError
from asd.metrics.clip_scores import ANOMALY, NORMAL

LABELS = {"normal": NORMAL, "anomaly": ANOMALY}

Truths = dict[str, Truth]  # file name → truth


def truths_from_files(layout: str, where: Path) -> dict[FileKey, Truths]:
    """The organisers' ground truth by section, with all its domains.

    The list of 2020, whose clips have no domain, may lie in one folder with the files of a later year.
    """
    found: dict[FileKey, Truths] = {}
    for (machine_type, section, name), truth in read_ground_truth([where]).items():
        if (truth.domain == "") == (layout == "dcase2020"):
            found.setdefault(FileKey(machine_type, section), {})[name] = truth
    return found


def truths_from_names(layout: str, key: FileKey, names: Iterable[str], path: Path) -> Truths:
    """The truth that development clips carry in their names; empty where no name carries one.

    Raises UserError that lists the names of `path` which do not say it beside others that do, or which belong to
    another section or domain.
    """
    truths = {name: _truth_in_name(layout, key, name) for name in names}
    known = {name: truth for name, truth in truths.items() if truth is not None}
    silent = [name for name in truths if name not in known]
    if silent and known:
        form = (
            "(normal|anomaly)_id_II_N.wav" if layout == "dcase2020" else "section_SS_DOMAIN_test_(normal|anomaly)_N.wav"
        )
        raise UserError(f"{path}: {len(silent)} names are not of the form {form} for {key}: {some(silent)}")
    return known


def _truth_in_name(layout: str, key: FileKey, name: str) -> Truth | None:
    match = (NAME_2020 if layout == "dcase2020" else NAME_FROM_2021).fullmatch(name)
    if match is None:
        return None
    label, section, domain = match.groups() if layout == "dcase2020" else (match[3], match[1], match[2])
    ours = section == key.section and key.domain in ("", domain)
    return Truth(LABELS[label], domain) if ours else None
