"""The files of an evaluation: scores.csv, decisions.csv, report.md and report.json, which is written last.

A folder that holds a report.json is complete. Schema: docs/files.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from asd.errors import UserError
from asd.files.atomic import write_whole
from asd.metrics import ClipScores, scores_csv
from asd.report.build import build_report
from asd.report.markdown import markdown
from asd.report.model import FORMAT_VERSION, Header, Report, json_text

SCORES_FILE, DECISIONS_FILE, MARKDOWN_FILE, REPORT_FILE = "scores.csv", "decisions.csv", "report.md", "report.json"


def write_report(folder: Path, clips: ClipScores, header: Header, decision: np.ndarray | None = None) -> Report:
    """Write the files of an evaluation into folder; each appears by rename. Returns report.json.

    Arguments and errors as of `build_report`.
    """
    report = build_report(clips, header, decision)
    save_report(folder, clips, report, decision)
    return report


def save_report(folder: Path, clips: ClipScores, report: Report, decision: np.ndarray | None = None) -> None:
    """The files of `write_report`, of what `build_report` made of the same clips."""
    text = json_text(report)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT_FILE).unlink(missing_ok=True)  # until the new one is there, the folder is not complete
    write_whole(folder / SCORES_FILE, scores_csv(clips))
    if decision is not None:
        write_whole(folder / DECISIONS_FILE, scores_csv(replace(clips, scores={"decision": decision})))
    write_whole(folder / MARKDOWN_FILE, markdown(report))
    write_whole(folder / REPORT_FILE, text)


def read_report(folder: Path) -> Report | None:
    """report.json of a folder; None where there is none, or one that a failing disk left.

    Raises UserError where a newer version wrote it.
    """
    path = folder / REPORT_FILE
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(tree, dict) and tree.get("format", 0) > FORMAT_VERSION:
            raise UserError(
                f"{path} has format {tree['format']}, this version reads formats up to {FORMAT_VERSION}: "
                "read it with the version that wrote it, or score the checkpoint again"
            )
        return Report.model_validate(tree)
    except (FileNotFoundError, ValueError, TypeError):  # a ValidationError is a ValueError
        return None
