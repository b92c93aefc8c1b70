"""Clip scores → report.json, report.md, the tables of the console and TensorBoard's curves.

Tables of 2020 are by machine ID, those from 2021 on by the year's own rule (asd.dcase.headline).
"""

from asd.metrics import ClipScores, read_scores, scores_csv, summarise
from asd.report.build import ORACLE_WARNING, Report, build_report, flip_warning, is_oracle, scorer_order
from asd.report.console import console_table, print_report
from asd.report.files import (
    DECISIONS_FILE,
    MARKDOWN_FILE,
    REPORT_FILE,
    SCORES_FILE,
    load_report,
    save_report,
    write_report,
)
from asd.report.markdown import markdown
from asd.report.rows import percent
from asd.report.scalars import scalars

__all__ = [
    "DECISIONS_FILE",
    "MARKDOWN_FILE",
    "ORACLE_WARNING",
    "REPORT_FILE",
    "SCORES_FILE",
    "ClipScores",
    "Report",
    "build_report",
    "console_table",
    "flip_warning",
    "is_oracle",
    "load_report",
    "markdown",
    "percent",
    "print_report",
    "read_scores",
    "save_report",
    "scalars",
    "scorer_order",
    "scores_csv",
    "summarise",
    "write_report",
]
