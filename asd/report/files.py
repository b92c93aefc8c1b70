"""The files of an evaluation: scores.csv, decisions.csv, report.md and report.json, which is written last.

A folder that holds a report.json is complete. Schema: docs/files.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from asd.files.atomic import write_whole
from asd.metrics import ClipScores, scores_csv
from asd.report.build import Report, build_report
from asd.report.markdown import markdown

SCORES_FILE, DECISIONS_FILE, MARKDOWN_FILE, REPORT_FILE = "scores.csv", "decisions.csv", "report.md", "report.json"


def write_report(
    folder: Path, clips: ClipScores, header: Mapping[str, Any], decision: np.ndarray | None = None
) -> Report:
    """Write the files of an evaluation into folder; each appears by rename. Returns report.json.

    Arguments and errors as of `build_report`.
    """
    report = build_report(clips, header, decision)
    save_report(folder, clips, report, decision)
    return report


def save_report(folder: Path, clips: ClipScores, report: Report, decision: np.ndarray | None = None) -> None:
    """The files of `write_report`, of what `build_report` made of the same clips."""
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT_FILE).unlink(missing_ok=True)  # until the new one is there, the folder is not complete
    write_whole(folder / SCORES_FILE, scores_csv(clips))
    if decision is not None:
        write_whole(folder / DECISIONS_FILE, scores_csv(replace(clips, scores={"decision": decision})))
    write_whole(folder / MARKDOWN_FILE, markdown(report))
    write_whole(folder / REPORT_FILE, text)


def load_report(folder: Path) -> Report | None:
    """report.json of a folder; None where there is none, or one that a failing disk left."""
    try:
        report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return report if isinstance(report, dict) else None
