"""A folder of score files and its ground truth → the clips of every section, joined on file names.

The organisers' evaluators sort both lists and compare only counts; here a wrong name is refused, not scored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from asd.errors import UserError
from asd.metrics.official import NO_DECISION, SectionClips, rule_of
from asd.rows import read_flags, read_scores, some
from asd.score_files.names import DECISIONS, SCORES, FileKey, find_files
from asd.score_files.truths import Truths, truths_from_files, truths_from_names


def read_sections(layout: str, folder: Path, ground_truth: Path | None) -> dict[str, dict[str, SectionClips]]:
    """Machine type → section → its clips in file-name order. ground_truth None: file names carry the labels.

    Decision files may be missing. Raises UserError, naming files and clips, on whatever else does not fit together.
    """
    rule_of(layout)
    if not folder.is_dir():
        raise UserError(f"--scores {folder} is no folder: name the one that holds the {SCORES}_….csv files")
    files, decisions = (find_files(kind, layout, folder) for kind in (SCORES, DECISIONS))
    if not files:
        raise UserError(f"--scores {folder} holds no {SCORES}_….csv")
    if alone := sorted(decisions.keys() - files.keys()):
        raise UserError(f"{folder} holds decisions without scores: {some(decisions[key].name for key in alone)}")
    scores = {key: read_scores(path) for key, path in files.items()}
    truths = _truths(layout, ground_truth, files, scores)
    joined = {key: _join(truths[key], files[key], scores[key], decisions.get(key)) for key in files}
    return _by_section(joined)


def _truths(
    layout: str, where: Path | None, files: Mapping[FileKey, Path], scores: Mapping[FileKey, Mapping[str, float]]
) -> dict[FileKey, Truths]:
    if where is None:
        return {key: truths_from_names(layout, key, scores[key], path) for key, path in files.items()}
    truths = truths_from_files(layout, where)
    if unscored := sorted(truths.keys() - files.keys()):
        raise UserError(f"no score file for {len(unscored)} parts of the ground truth: {some(unscored)}")
    if unknown := sorted(files.keys() - truths.keys()):
        raise UserError(f"no ground truth in {where} for {some(files[key].name for key in unknown)}")
    return truths


def _join(truths: Truths, path: Path, scores: Mapping[str, float], decided: Path | None) -> SectionClips:
    _refuse_other_names(path, scores, truths)
    flags = dict.fromkeys(truths, NO_DECISION)
    if decided is not None:
        flags = read_flags(decided)
        _refuse_other_names(decided, flags, truths)
    names = sorted(truths)
    return SectionClips(
        label=np.array([truths[name].label for name in names], dtype=np.int64),
        score=np.array([scores[name] for name in names], dtype=np.float64),
        domain=np.array([truths[name].domain for name in names]),
        decision=np.array([flags[name] for name in names], dtype=np.int64),
    )


def _refuse_other_names(path: Path, names: Collection[str], truths: Truths) -> None:
    missing, unknown = sorted(truths.keys() - set(names)), sorted(set(names) - truths.keys())
    complaints = [f"{len(missing)} clips of the ground truth are missing ({some(missing)})"] if missing else []
    complaints += [f"{len(unknown)} names are not in the ground truth ({some(unknown)})"] if unknown else []
    if complaints:
        raise UserError(f"{path}: {' and '.join(complaints)}")


def _by_section(joined: Mapping[FileKey, SectionClips]) -> dict[str, dict[str, SectionClips]]:
    """The two domains of a section of 2021 become one."""
    parts: dict[tuple[str, str], list[SectionClips]] = {}
    for key, clips in sorted(joined.items()):
        parts.setdefault((key.machine_type, key.section), []).append(clips)
    found: dict[str, dict[str, SectionClips]] = {}
    for (machine, section), own in parts.items():
        columns = (np.concatenate([getattr(c, name) for c in own]) for name in ("label", "score", "domain", "decision"))
        found.setdefault(machine, {})[section] = SectionClips(*columns)
    return found
