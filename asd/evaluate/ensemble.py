"""Several runs' scores as one: put on a common scale by the scores of normal training clips, then combined.

Legend: R runs, N test clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from asd.dcase import write_submission
from asd.dcase.rules import LAYOUTS
from asd.errors import UserError
from asd.evaluate.store import CALIBRATION_FILE
from asd.metrics import ClipScores, read_scores
from asd.metrics.clip_scores import concatenate
from asd.metrics.decisions import Machine, decide_clips, machines_of
from asd.metrics.thresholds import AnyThreshold
from asd.report import (
    SCORES_FILE,
    Choice,
    EnsembleRuns,
    Header,
    Report,
    build_report,
    flip_warning,
    read_report,
    write_report,
)
from asd.report.evidence import threshold_warnings

Method = Literal["mean", "median", "topk"]
NAME = "ensemble"


@dataclass(frozen=True)
class Member:
    """One run's scores of test and calibration clips, z-normalised machine by machine."""

    name: str
    layout: str
    test: ClipScores
    calibration: ClipScores
    z_test: np.ndarray
    z_calibration: np.ndarray
    oracle: bool  # its checkpoint was chosen on the test clips
    flip: tuple[str, ...]  # classes whose scores are inverted

    def quality(self, machine_type: str) -> float:
        """How good the run is at a machine type by the year's rule (asd.dcase.headline), on the labelled clips of the
        development half; 0 where there are none."""
        chosen = np.flatnonzero([name == machine_type for name in self.test.machine_type])
        clips = self.test.select(chosen, {NAME: self.z_test[chosen]})
        return build_report(clips, Header(layout=self.layout)).primary_headline.quality or 0.0


def open_member(folder: Path, name: str, scorer: str | None = None) -> Member:
    """The scores that an evaluation folder holds, by its primary scorer or a named one."""
    report = read_report(folder)
    if report is None or not (folder / CALIBRATION_FILE).is_file():
        raise UserError(
            f"{folder} holds no scores (or those of an older version): score it with `python eval.py score`"
        )
    wanted = scorer or report.primary
    test, calibration = (read_scores(folder / file) for file in (SCORES_FILE, CALIBRATION_FILE))
    if not len(test):
        raise UserError(f"{folder} holds no test clip to combine")
    if wanted not in test.scores:
        raise UserError(f"{folder} has no scorer {wanted}: it has {', '.join(test.scores)}")
    scale = _scale(calibration, wanted)
    z_test, z_calibration = (_normalised(clips, clips.scores[wanted], scale, folder) for clips in (test, calibration))
    return Member(name, report.layout, test, calibration, z_test, z_calibration, report.is_oracle, report.flip)


def _scale(calibration: ClipScores, scorer: str) -> dict[Machine, tuple[float, float]]:
    """Mean and standard deviation of every machine's normal clips; a deviation of 0 counts as 1."""
    machines, scores = machines_of(calibration), calibration.scores[scorer]
    found = {}
    for machine in set(machines):
        own = scores[np.array([m == machine for m in machines])]
        found[machine] = (float(own.mean()), float(own.std()) or 1.0)
    return found


def _normalised(
    clips: ClipScores, scores: np.ndarray, scale: Mapping[Machine, tuple[float, float]], folder: Path
) -> np.ndarray:
    machines = machines_of(clips)
    if missing := next((m for m in machines if m not in scale), None):
        raise UserError(f"{folder} has no normal clip of {'/'.join(missing)} to normalise its scores by")
    mean, deviation = (np.array(column) for column in zip(*(scale[m] for m in machines), strict=True))
    return (scores - mean) / deviation


def combine(members: Sequence[Member], method: Method, k: int = 3) -> tuple[ClipScores, ClipScores, EnsembleRuns]:
    """(test clips, calibration clips) with the one scorer `ensemble`, and the runs combined for each machine type.

    A clip's score is the mean (median) over the runs that scored its machine type; topk: over the k best of these, by
    the year's rule on the test clips. Raises UserError where these runs scored different clips.
    """
    parts: tuple[list[ClipScores], list[ClipScores]] = ([], [])
    chosen: dict[str, list[str]] = {}
    for machine_type in sorted({name for member in members for name in member.test.machine_type}):
        own = [member for member in members if machine_type in member.test.machine_type]
        if method == "topk":
            own = sorted(own, key=lambda member: -member.quality(machine_type))[:k]
        chosen[machine_type] = [member.name for member in own]
        for part, kind in zip(parts, ("test", "calibration"), strict=True):
            part.append(_combine_type(own, machine_type, kind, "median" if method == "median" else "mean"))
    test, calibration = (concatenate(part) for part in parts)
    best_of: dict[str, Any] = {"k": k} if method == "topk" else {}
    return test, calibration, EnsembleRuns(method=method, runs=chosen, **best_of)


def _combine_type(members: Sequence[Member], machine_type: str, kind: str, how: str) -> ClipScores:
    columns: list[list[float]] = []
    first: ClipScores = getattr(members[0], kind)
    rows = np.flatnonzero([name == machine_type for name in first.machine_type])
    keys = [first.key[row] for row in rows]
    for member in members:
        clips, z = getattr(member, kind), getattr(member, f"z_{kind}")
        place = {key: z[row] for row, key in enumerate(clips.key) if clips.machine_type[row] == machine_type}
        if kind == "calibration":  # drawn by each run's own validation split
            place = {**dict.fromkeys(keys, np.nan), **{key: place[key] for key in keys if key in place}}
        if set(place) != set(keys):
            other = sorted(set(place) ^ set(keys))[0]
            raise UserError(
                f"{member.name} and {members[0].name} scored different {machine_type} clips, such as {other}"
            )
        _check_contradictions(members[0].name, first, member.name, clips)
        columns.append([place[key] for key in keys])
    reduce = np.nanmedian if how == "median" else np.nanmean
    return first.select(rows, {NAME: np.asarray(reduce(np.array(columns), axis=0))})


def _check_contradictions(name: str, clips: ClipScores, other_name: str, others: ClipScores) -> None:
    """UserError where two runs disagree on the facts of a clip: they were scored on different sets."""
    facts = {"ID": "machine_id", "domain": "domain", "label": "label"}
    known = {key: row for row, key in enumerate(clips.key)}
    for row, key in enumerate(others.key):
        for what, field in facts.items() if key in known else ():
            own, other = getattr(clips, field)[known[key]], getattr(others, field)[row]
            if own != other:
                raise UserError(
                    f"clip {key} has {what} {own} in {name} and {other} in {other_name}: score one set by both"
                )


def write_ensemble(
    members: Sequence[Member],
    out: Path,
    method: Method,
    k: int,
    threshold: AnyThreshold,
) -> Report:
    """Combine, decide and write the files of an evaluation and, where the layout has them, score files."""
    test, calibration, made_of = combine(members, method, k)
    layout = members[0].layout
    decided = decide_clips(test, calibration, NAME, threshold)
    used = {name for names in made_of.runs.values() for name in names}
    flipped = [flip_warning(own.flip, f"{own.name}: ") for own in members if own.flip and own.name in used]
    header = Header(
        run=out.name,
        layout=layout,
        primary=NAME,
        ensemble=made_of,
        selection=Choice(rule=method, oracle=method == "topk" or any(member.oracle for member in members)),
        warnings=[*flipped, *threshold_warnings(decided, threshold)],
        thresholds=decided.by_name,
    )
    report = write_report(out, test, header, decided.decision)
    if layout in LAYOUTS:  # also of clips whose labels are hidden
        write_submission(out / "submission", layout, test, NAME, decided.decision)
    return report
