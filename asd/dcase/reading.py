"""A folder of score files and its ground truth → the clips of every section, joined on file names.

The organisers' evaluators sort both lists and compare only counts; here a wrong name is refused, not scored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from asd.dcase.csv_rows import check_repeated, read_flags, read_scores, some
from asd.dcase.file_names import DECISIONS, SCORES, FileKey, find_files
from asd.dcase.ground_truth import Clip, read_released_names
from asd.dcase.halves import DEVELOPMENT, EVALUATION, HALVES
from asd.dcase.labels import Truths, truths_from_files, truths_from_names
from asd.dcase.rules import SectionClips, Sections, rule_of
from asd.errors import UserError
from asd.metrics.decisions import NO_DECISION

Value = TypeVar("Value", int, float)


@dataclass(frozen=True)
class Submission:
    """The scored clips of development sections, whose names carry the labels, and of evaluation sections, whose labels
    come from the organisers' ground truth; sections without any label."""

    development: Sections
    evaluation: Sections
    unlabelled: list[str] = field(default_factory=list)


def read_submission(layout: str, folder: Path, ground_truth: Path | None) -> Submission:
    """Machine type → section → its clips in file-name order, of both halves. ground_truth None: by names alone.

    Decision files may be missing. Raises UserError, naming files and clips, on whatever else does not fit together.
    """
    rule_of(layout)
    files, decisions = _score_files(layout, folder)
    listed = {} if ground_truth is None else truths_from_files(layout, ground_truth)
    released = {} if ground_truth is None else read_released_names(ground_truth)
    _check_unscored(layout, listed, files)
    halves: dict[str, dict[FileKey, SectionClips]] = {half: {} for half in HALVES}
    unlabelled = []
    for key, path in files.items():
        scores = _released(path, key, read_scores(path), released)
        half, truths = _truths(layout, key, listed, scores, path)
        decided = decisions.get(key)
        flags = None if decided is None else _released(decided, key, read_flags(decided), released)
        if truths:
            halves[half][key] = _join(truths, path, scores, decided, flags)
        else:
            unlabelled.append(key)
    if unlabelled and (ground_truth is not None or not any(halves.values())):
        _check_unlabelled(layout, [files[key] for key in unlabelled], ground_truth)
    development, evaluation = (_by_section(halves[half]) for half in HALVES)
    return Submission(development, evaluation, [str(key) for key in unlabelled])


def _score_files(layout: str, folder: Path) -> tuple[dict[FileKey, Path], dict[FileKey, Path]]:
    """The files with scores and those with decisions."""
    if not folder.is_dir():
        raise UserError(f"--scores {folder} is not a folder: name the one that holds the {SCORES}_….csv files")
    files, decisions = (find_files(kind, layout, folder) for kind in (SCORES, DECISIONS))
    if not files:
        own = "; it holds a scores.csv, which --layout table takes" if (folder / "scores.csv").is_file() else ""
        raise UserError(f"--scores {folder} holds no {SCORES}_….csv{own}")
    if alone := sorted(decisions.keys() - files.keys()):
        raise UserError(f"{folder} holds decisions without scores: {some(decisions[key].name for key in alone)}")
    return files, decisions


def _check_unscored(layout: str, listed: Mapping[FileKey, Truths], files: Collection[FileKey]) -> None:
    """Parts of the ground truth, in 2021 domain by domain, that no file scores."""
    by_domain = layout == "dcase2021"
    parts = {replace(key, domain=t.domain if by_domain else "") for key, own in listed.items() for t in own.values()}
    if unscored := sorted(part for part in parts if not {part, part.whole} & set(files)):
        raise UserError(f"no score file for {len(unscored)} parts of the ground truth: {some(unscored)}")


def _truths(
    layout: str, key: FileKey, listed: Mapping[FileKey, Truths], names: Collection[str], path: Path
) -> tuple[str, Truths]:
    """The half that a file belongs to, and its truth: listed, or else in the names; empty where neither says it."""
    truths = {name: truth for name, truth in listed.get(key.whole, {}).items() if key.domain in ("", truth.domain)}
    return (EVALUATION, truths) if truths else (DEVELOPMENT, truths_from_names(layout, key, names, path))


def _check_unlabelled(layout: str, paths: Iterable[Path], ground_truth: Path | None) -> None:
    names = some(path.name for path in paths)
    if ground_truth is not None:
        raise UserError(f"no ground truth in {ground_truth} for {names}")
    lists = "eval_data_list.csv" if layout == "dcase2020" else "the folder of the evaluator's ground_truth_…"
    raise UserError(f"the names of clips in {names} carry no label: give --ground-truth {lists}")


def _released(path: Path, key: FileKey, values: dict[str, Value], released: Mapping[Clip, str]) -> dict[str, Value]:
    """The same under the names that the clips were released under."""
    names = [released.get((key.machine_type, key.section, name), name) for name in values]
    check_repeated(path, names)
    return dict(zip(names, values.values(), strict=True))


def _join(
    truths: Truths, path: Path, scores: Mapping[str, float], decided: Path | None, flags: Mapping[str, int] | None
) -> SectionClips:
    _check_other_names(path, scores, truths)
    if decided is not None and flags is not None:
        _check_other_names(decided, flags, truths)
    names = sorted(truths)
    return SectionClips(
        label=np.array([truths[name].label for name in names], dtype=np.int64),
        score=np.array([scores[name] for name in names], dtype=np.float64),
        domain=np.array([truths[name].domain for name in names]),
        decision=np.array([NO_DECISION if flags is None else flags[name] for name in names], dtype=np.int64),
    )


def _check_other_names(path: Path, names: Collection[str], truths: Truths) -> None:
    missing, unknown = sorted(truths.keys() - set(names)), sorted(set(names) - truths.keys())
    complaints = [f"{len(missing)} clips of the ground truth are missing ({some(missing)})"] if missing else []
    complaints += [f"{len(unknown)} names are not in the ground truth ({some(unknown)})"] if unknown else []
    if complaints:
        raise UserError(f"{path}: {' and '.join(complaints)}")


def _by_section(joined: Mapping[FileKey, SectionClips]) -> Sections:
    """The two domains of a section of 2021 become one."""
    parts: dict[FileKey, list[SectionClips]] = {}
    for key, clips in sorted(joined.items()):
        parts.setdefault(key.whole, []).append(clips)
    found: dict[str, dict[str, SectionClips]] = {}
    for key, own in parts.items():
        columns = (np.concatenate([getattr(c, name) for c in own]) for name in ("label", "score", "domain", "decision"))
        found.setdefault(key.machine_type, {})[key.section] = SectionClips(*columns)
    return found
