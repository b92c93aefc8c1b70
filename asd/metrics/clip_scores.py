"""The scores of test clips, one row a clip, and scores.csv, the file that holds them (schema: docs/files.md)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from asd.errors import UserError

CLIP_COLUMNS = ("key", "file", "machine_type", "machine_id", "domain", "label")
RECORDING = "recording"  # the column after these in calibration.csv
NORMAL, ANOMALY, UNKNOWN = 0, 1, -1
WORDS = ("key", "file_name", "machine_type", "machine_id", "domain")


@dataclass(frozen=True)
class ClipScores:
    """The scores of N test clips by every scorer; lists and arrays have one entry a clip.

    label: (N,) int, 1 anomaly, 0 normal, -1 unknown. scores: column name → (N,) float64, higher = more anomalous.
    """

    key: list[str]
    file_name: list[str]
    machine_type: list[str]
    machine_id: list[str]
    domain: list[str]
    label: np.ndarray
    scores: dict[str, np.ndarray]
    recording: list[str] | None = None  # of normal clips that thresholds are fitted to; None: each is one of its own

    def __post_init__(self) -> None:
        words = [getattr(self, name) for name in self._words]
        lengths = {len(column) for column in words} | {len(column) for column in (self.label, *self.scores.values())}
        if len(lengths) != 1:
            raise ValueError(f"the columns of ClipScores have different lengths: {sorted(lengths)}")
        if not np.isin(self.label, (NORMAL, ANOMALY, UNKNOWN)).all():
            raise ValueError("a label of ClipScores is not 1 (anomaly), 0 (normal) or -1 (unknown)")
        taken = set(self.scores) & {*CLIP_COLUMNS, RECORDING}
        if taken:
            raise ValueError(f"a scorer cannot be called {sorted(taken)[0]}: scores.csv has such a column")

    def __len__(self) -> int:
        return len(self.key)

    def select(self, rows: np.ndarray, scores: dict[str, np.ndarray] | None = None) -> ClipScores:
        """The clips of the given rows, with their scores or with others."""
        kept = {name: column[rows] for name, column in self.scores.items()} if scores is None else scores
        words = {name: [getattr(self, name)[row] for row in rows] for name in self._words}
        return ClipScores(**words, label=self.label[rows], scores=kept)

    @property
    def _words(self) -> tuple[str, ...]:
        return WORDS if self.recording is None else (*WORDS, RECORDING)

    @property
    def known(self) -> np.ndarray:
        """(N,) bool: clips with a label."""
        return np.asarray(self.label) != UNKNOWN

    def recordings(self, rows: np.ndarray) -> list[str] | None:
        """The recording of each clip of the given rows; None: each is one of its own."""
        return None if self.recording is None else [self.recording[row] for row in rows]

    @cached_property
    def groups(self) -> dict[str, dict[str, np.ndarray]]:
        """Machine type → machine ID → indices of its clips; both sorted by name."""
        found: dict[tuple[str, str], list[int]] = {}
        for index, pair in enumerate(zip(self.machine_type, self.machine_id, strict=True)):
            found.setdefault(pair, []).append(index)
        types: dict[str, dict[str, np.ndarray]] = {}
        for (machine_type, machine_id), indices in sorted(found.items()):
            types.setdefault(machine_type, {})[machine_id] = np.array(indices, dtype=np.int64)
        return types


def concatenate(parts: Sequence[ClipScores]) -> ClipScores:
    """All clips of parts that have the same scorers."""
    names = WORDS if any(part.recording is None for part in parts) else (*WORDS, RECORDING)
    words = {name: [value for part in parts for value in getattr(part, name)] for name in names}
    scores = {name: np.concatenate([part.scores[name] for part in parts]) for name in parts[0].scores}
    return ClipScores(**words, label=np.concatenate([part.label for part in parts]), scores=scores)


def check_finite(clips: ClipScores) -> None:
    """Raises UserError that names the scorer and the first clip whose score is not a finite number."""
    for name, scores in clips.scores.items():
        bad = np.flatnonzero(~np.isfinite(scores))
        if bad.size:
            first = clips.file_name[bad[0]]
            raise UserError(
                f"scorer {name} gave {bad.size} of {len(clips)} clips no finite score (first: {first}): "
                "the weights or the recordings hold values that are not finite"
            )


def scores_csv(clips: ClipScores) -> str:
    """The text of scores.csv; floats as `repr` writes them, so that reading them back is exact."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    recording = [] if clips.recording is None else [(RECORDING, clips.recording)]
    writer.writerow((*CLIP_COLUMNS, *(name for name, _ in recording), *clips.scores))
    words = (clips.key, clips.file_name, clips.machine_type, clips.machine_id, clips.domain)
    labels = np.asarray(clips.label, dtype=np.int64).tolist()
    floats = [map(repr, np.asarray(s, dtype=np.float64).tolist()) for s in clips.scores.values()]
    writer.writerows(zip(*words, labels, *(column for _, column in recording), *floats, strict=True))
    return text.getvalue()


def read_scores(path: Path) -> ClipScores:
    """Read a scores.csv back, exactly as it was written.

    Raises UserError, naming file and line, where columns are missing or repeated or a value is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.reader(handle))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a csv text file: {error}") from None
    names = _scorer_names(path, rows[0] if rows else [])
    for line, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise UserError(f"{path}, row {line}: {len(row)} fields where the header has {len(rows[0])}")
    columns = [list(column) for column in zip(*rows[1:], strict=True)] or [[] for _ in rows[0]]
    key, file_name, machine_type, machine_id, domain, label = columns[: len(CLIP_COLUMNS)]
    recording = columns[len(CLIP_COLUMNS)] if len(columns) > len(CLIP_COLUMNS) + len(names) else None
    scores = {
        name: np.array([_number(path, line, name, text) for line, text in enumerate(column, start=2)])
        for name, column in zip(names, columns[len(columns) - len(names) :], strict=True)
    }
    labels = np.array([_label(path, line, text) for line, text in enumerate(label, start=2)], dtype=np.int64)
    return ClipScores(key, file_name, machine_type, machine_id, domain, labels, scores, recording)


def _scorer_names(path: Path, header: list[str]) -> list[str]:
    if tuple(header[: len(CLIP_COLUMNS)]) != CLIP_COLUMNS:
        raise UserError(f"{path} is not a scores.csv: its first columns must be {','.join(CLIP_COLUMNS)}")
    if len(set(header)) != len(header):
        raise UserError(f"{path} has two columns of one name: every scorer needs its own")
    return header[len(CLIP_COLUMNS) + (header[len(CLIP_COLUMNS) :][:1] == [RECORDING]) :]


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{path}, row {line}: {name} is {text!r}, not a number") from None


def _label(path: Path, line: int, text: str) -> int:
    if text not in ("0", "1", "-1"):
        raise UserError(f"{path}, row {line}: label is {text!r}, it must be 1 (anomaly), 0 (normal) or -1 (unknown)")
    return int(text)
