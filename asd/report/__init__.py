"""Clip scores → report.json, report.md, the tables of the console and TensorBoard's curves.

Tables of 2020 are by machine ID, those from 2021 on by the year's own rule (asd.dcase.headline).
"""

from asd.report.build import ORACLE_WARNING, build_report, flip_warning
from asd.report.console import console_table, print_report
from asd.report.files import (
    DECISIONS_FILE,
    MARKDOWN_FILE,
    REPORT_FILE,
    SCORES_FILE,
    read_report,
    save_report,
    write_report,
)
from asd.report.markdown import markdown
from asd.report.model import Choice, EnsembleRuns, Header, Report, ReportWarning, Validation
from asd.report.rows import percent
from asd.report.scalars import scalars

__all__ = [
    "DECISIONS_FILE",
    "MARKDOWN_FILE",
    "ORACLE_WARNING",
    "REPORT_FILE",
    "SCORES_FILE",
    "Choice",
    "EnsembleRuns",
    "Header",
    "Report",
    "ReportWarning",
    "Validation",
    "build_report",
    "console_table",
    "flip_warning",
    "markdown",
    "percent",
    "print_report",
    "read_report",
    "save_report",
    "scalars",
    "write_report",
]
