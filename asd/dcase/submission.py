"""Clip scores → a folder of score files, as they are submitted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from asd.dcase.csv_rows import check_repeated, some
from asd.dcase.file_names import DECISIONS, SCORES, FileKey, file_name
from asd.dcase.rules import DOMAINS, rule_of
from asd.errors import UserError
from asd.files.atomic import write_whole
from asd.metrics.clip_scores import ClipScores, check_finite


def write_submission(
    folder: Path, layout: str, clips: ClipScores, scorer: str, decisions: ArrayLike | None = None
) -> list[Path]:
    """Write `anomaly_score_….csv` and, with decisions (N,) of 0 and 1, `decision_result_….csv`, one of each a section.

    2021: one a section and domain. Rows are in the order of file names, without header; scores as `repr` writes them,
    so that reading them back is exact. Files of the same names are replaced. Returns the paths written.
    Raises UserError where there is no such scorer, a section or domain has no official name, a file name repeats, a
    score is not finite, or the folder holds score files that this submission would not replace.
    """
    rule_of(layout)
    if scorer not in clips.scores:
        raise UserError(f"no scorer {scorer!r}: there are {', '.join(clips.scores)}")
    check_finite(clips)
    parts = _parts(layout, clips)
    columns = {SCORES: np.asarray(clips.scores[scorer], dtype=np.float64).tolist()}
    if decisions is not None:
        decided = np.asarray(decisions)
        if decided.shape != (len(clips),) or not np.isin(decided, (0, 1)).all():
            raise ValueError(f"decisions {decided.shape} must be 0 or 1 for each of {len(clips)} clips")
        columns[DECISIONS] = decided.astype(np.int64).tolist()
    texts = {
        folder / file_name(kind, layout, key): _text(clips, values, indices, folder / file_name(kind, layout, key))
        for kind, values in columns.items()
        for key, indices in parts.items()
    }
    _check_others(folder, texts)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        write_whole(path, text)
    return list(texts)


def _parts(layout: str, clips: ClipScores) -> dict[FileKey, list[int]]:
    """Which clips go into which file, in file-name order."""
    found: dict[FileKey, list[int]] = {}
    for index in sorted(range(len(clips)), key=lambda i: clips.file_name[i]):
        domain = clips.domain[index] if layout == "dcase2021" else ""
        if layout == "dcase2021" and domain not in DOMAINS:
            raise UserError(
                f"{clips.file_name[index]} of {clips.machine_type[index]} has no domain: "
                "dcase2021 files are named by source and target"
            )
        key = FileKey(clips.machine_type[index], clips.machine_id[index], domain)
        found.setdefault(key, []).append(index)
    return dict(sorted(found.items()))


def _text(clips: ClipScores, values: list[float] | list[int], indices: list[int], path: Path) -> str:
    check_repeated(path, (clips.file_name[i] for i in indices))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((clips.file_name[i], repr(values[i])) for i in indices)
    return text.getvalue()


def _check_others(folder: Path, ours: Iterable[Path]) -> None:
    """Files left by another submission would be evaluated, or sent, with this one."""
    lying = (
        {path for kind in (SCORES, DECISIONS) for path in folder.glob(f"{kind}_*.csv")} if folder.is_dir() else set()
    )
    if others := sorted(path.name for path in lying - set(ours)):
        raise UserError(f"{folder} holds score files of another submission ({some(others)}): name another folder")
