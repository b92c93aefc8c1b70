"""Score files → the year's official numbers, as tables and as JSON (schema: docs/files.md, Score files)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from asd.dcase.halves import EVALUATION
from asd.dcase.headline import Headline, definition, headline
from asd.dcase.rules import Sections, official_numbers
from asd.report import percent
from asd.report.console import type_table
from asd.report.fitting import FittingTable
from asd.text.terminal import plain

COLUMNS = {
    "dcase2020": ("auc", "pauc", "f1"),
    "dcase2021": ("auc_source", "auc_target", "pauc_source", "pauc_target", "f1_source", "f1_target"),
}
COLUMNS_FROM_2022 = ("auc", "auc_source", "auc_target", "pauc", "f1_source", "f1_target")
TITLES = {"auc": "AUC", "pauc": "pAUC", "f1": "F1"}

Report = dict[str, Any]


def print_tables(console: Console, layout: str, report: Report) -> None:
    """The sections of each half, then the table that publications print."""
    for half, part in halves_of(report).items():
        if half:
            console.print(f"{half}:")
        console.print(official_table(part))
        console.print(closing_lines(part))
    console.print(type_table(layout, {half: headline_numbers(part) for half, part in halves_of(report).items()}))
    console.print(plain(definition(layout), "dim"))


def numbers_of(layout: str, development: Sections, evaluation: Sections) -> Report:
    """Of the one half that there is; of both, the evaluation half's under a key of its own, as in report.json."""
    if not (development and evaluation):
        return official_numbers(layout, development or evaluation)
    return official_numbers(layout, development) | {EVALUATION: official_numbers(layout, evaluation)}


def halves_of(report: Report) -> dict[str, Report]:
    return {"Dev": report, "Eval": report[EVALUATION]} if EVALUATION in report else {"": report}


def headline_numbers(part: Report) -> Headline:
    return headline(part["layout"], part["machines"], part["machines"])


def official_table(report: Report) -> FittingTable:
    """In percent, a row per section, the mean of a machine type with several, and both means over everything."""
    columns = COLUMNS.get(report["layout"], COLUMNS_FROM_2022)
    table = FittingTable(f"machine {'ID' if report['layout'] == 'dcase2020' else 'section'} %")
    for name in columns:
        table.add_column(_title(name))
    for machine, numbers in report["machines"].items():
        for section, own in numbers["sections"].items():
            _add(table, columns, f"{machine} {section}", own)
        if several := len(numbers["sections"]) > 1:
            _add(table, columns, f"{machine} mean", numbers["mean"], "bold")
        if several or machine == [*report["machines"]][-1]:
            table.add_line()
    _add(table, columns, "all mean", report["mean"], "bold")
    _add(table, columns, "all harmonic mean", report["harmonic_mean"], "bold")
    return table


def _title(column: str) -> str:
    metric, _, domain = column.partition("_")
    return f"{TITLES[metric]} {domain}".rstrip()


def _add(
    table: FittingTable, columns: tuple[str, ...], name: str, numbers: Mapping[str, float | None], style: str = ""
) -> None:
    table.add_row(name, [_cell(numbers[key]) for key in columns], style)


def _cell(value: float | None) -> str:
    return "–" if value is None else percent(value)


def closing_lines(report: Report) -> str:
    """The official score, in full, and what is missing."""
    score = report["official_score"]
    if report["layout"] == "dcase2020":
        official = "official score: none in 2020, systems were ranked by the AUC and pAUC of each machine type"
    else:
        official = f"official score: {'–' if score is None else f'{percent(score)} % ({score!r})'}"
    return "\n".join([official, *(f"note: {note}" for note in report["notes"])])
