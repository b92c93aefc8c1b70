"""The report of a scores.csv, as every evaluation leaves it: for own recordings, whose labels no file name carries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from asd.data.manifest import LABELS
from asd.dcase.csv_rows import some
from asd.errors import UserError
from asd.files.atomic import write_whole
from asd.files.csv_table import one_of, read_table
from asd.files.paths import check_over, user_path
from asd.metrics import ClipScores, read_scores
from asd.report import (
    DECISIONS_FILE,
    REPORT_FILE,
    SCORES_FILE,
    Header,
    Report,
    build_report,
    percent,
    print_report,
    read_report,
)
from asd.report.model import json_text
from asd.text.terminal import open_console

LAYOUTS = ("table", "mimii")  # sets that go by the rule of 2020 and have no official score files
NAMES = "names"  # --ground-truth names: the labels that the clips have already
COLUMNS = ("path", "machine_type", "machine_id", "label")
TAKEN_OVER = {"run", "step", "primary", "baselines"}  # from the report beside, where there is one


def report_scores(layout: str, scores: Path, ground_truth: str | None, json_file: Path | None) -> None:
    """Print the tables of a scores.csv, or of the folder that holds one, and write the numbers as JSON.

    ground_truth: a csv of the layout `table`, whose labels take the place of those in scores.csv. A set that has no
    AUC, since all its clips are of one kind, is reported in one line. Raises UserError where no clip has a label.
    """
    path = scores / SCORES_FILE if scores.is_dir() else scores
    if not path.is_file():
        raise UserError(
            f"--scores {scores}: for layout {layout} name the folder of a {SCORES_FILE}, such as runs/…/scores/step_…"
        )
    table = None if ground_truth in (None, NAMES) else user_path(str(ground_truth))
    if json_file is not None:
        read = [path, *(path.parent / name for name in (REPORT_FILE, DECISIONS_FILE))]
        check_over("--json", json_file, [*read, *([] if table is None else [table])])
    clips = read_scores(path)
    if table is not None:
        clips = replace(clips, label=_labels(table, clips))
    if not clips.known.any():
        raise UserError(
            f"{path}: none of {len(clips)} clips has a label: give --ground-truth TABLE.csv with {','.join(COLUMNS)}"
        )
    beside = read_report(path.parent)
    given = {} if beside is None else beside.model_dump(include=TAKEN_OVER & beside.model_fields_set)
    header = Header(layout=layout, **(given if given.get("primary") in clips.scores else {}))
    report = build_report(clips, header, _decision(path.parent, clips))
    if report.test.normals and report.test.anomalies:
        print_report(report)
    else:
        open_console().print(one_kind(report), soft_wrap=True)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(json_file, json_text(report))


def one_kind(report: Report) -> str:
    """The line on clips that are all normal, or all anomalous."""
    test = report.test
    said = f"no AUC: of the labelled clips {test.normals} are normal and {test.anomalies} anomalous, and it takes both"
    if report.decisions is None:
        return said
    rates = report.decisions.all
    if test.normals:
        alarms, share = rates.false_alarms, percent(rates.false_alarm_rate)
        return f"{said}; false alarms: {alarms} of {rates.normals} ({share} %)"
    return f"{said}; hits: {rates.hits} of {rates.anomalies} ({percent(rates.hit_rate)} %)"


def _decision(folder: Path, clips: ClipScores) -> np.ndarray | None:
    """The decisions on the same clips that lie beside."""
    path = folder / DECISIONS_FILE
    if not path.is_file():
        return None
    decided = read_scores(path)
    by_key = dict(zip(decided.key, decided.scores["decision"].astype(int).tolist(), strict=True))
    return np.array([by_key[key] for key in clips.key]) if set(clips.key) <= set(by_key) else None


def _labels(path: Path, clips: ClipScores) -> np.ndarray:
    """The labels of a table, by machine type, ID and file."""
    known = {
        (row["machine_type"], row["machine_id"], row["path"]): LABELS[one_of(row, "label", tuple(LABELS), where)]
        for where, row in read_table(path, COLUMNS, others=True)
    }
    places = list(zip(clips.machine_type, clips.machine_id, clips.file_name, strict=True))
    if absent := sorted("/".join(place) for place in places if place not in known):
        raise UserError(f"--ground-truth {path} does not list {len(absent)} of {len(places)} clips: {some(absent)}")
    return np.array([known[place] for place in places], dtype=np.int64)
