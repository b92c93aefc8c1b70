"""Score files → the year's official numbers, as a table and as JSON (schema: docs/files.md, Score files)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from asd.files import write_whole
from asd.metrics.official import official_numbers, rule_of
from asd.report import percent
from asd.score_files import read_sections
from asd.terminal import open_console, plain

NAMES = "names"  # --ground-truth names
COLUMNS = {
    "dcase2020": ("auc", "pauc", "f1"),
    "dcase2021": ("auc_source", "auc_target", "pauc_source", "pauc_target", "f1_source", "f1_target"),
}
COLUMNS_FROM_2022 = ("auc", "auc_source", "auc_target", "pauc", "f1_source", "f1_target")
TITLES = {"auc": "AUC", "pauc": "pAUC", "f1": "F1"}

Report = dict[str, Any]


def report_score_files(layout: str, scores: Path, ground_truth: str, json_file: Path | None) -> None:
    """Evaluate a folder of score files: print the table, write the JSON. UserError on files that do not fit."""
    rule_of(layout)
    where = None if ground_truth == NAMES else Path(ground_truth)
    report = official_numbers(layout, read_sections(layout, scores, where))
    console = open_console()
    console.print(official_table(report))
    console.print(closing_lines(report))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(json_file, json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def official_table(report: Report) -> Table:
    """In percent, a row per section, the mean of a machine type with several, and both means over everything."""
    columns = COLUMNS.get(report["layout"], COLUMNS_FROM_2022)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("%", overflow="fold")
    table.add_column("ID" if report["layout"] == "dcase2020" else "section", overflow="fold")
    for name in columns:
        table.add_column(_title(name), justify="right", no_wrap=True)
    for machine, numbers in report["machines"].items():
        rows = [(machine, section, own) for section, own in numbers["sections"].items()]
        rows += [(machine, "mean", numbers["mean"])] if len(rows) > 1 else []
        for row in rows:
            _add(table, columns, *row)
        if len(rows) > 1 or machine == [*report["machines"]][-1]:
            table.add_section()
    _add(table, columns, "all", "mean", report["mean"])
    _add(table, columns, "all", "harmonic mean", report["harmonic_mean"])
    return table


def _title(column: str) -> str:
    metric, _, domain = column.partition("_")
    return f"{TITLES[metric]}\n{domain}".rstrip()


def _add(
    table: Table, columns: tuple[str, ...], machine: str, section: str, numbers: Mapping[str, float | None]
) -> None:
    style = "bold" if "mean" in section else ""
    table.add_row(plain(machine), plain(section), *(_cell(numbers[name]) for name in columns), style=style)


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
