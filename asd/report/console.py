"""A report on the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from asd.dcase.headline import Headline, Values
from asd.report.build import ORACLE_WARNING
from asd.report.fitting import FittingTable
from asd.report.model import Report
from asd.report.rows import (
    DECISION_COLUMNS,
    MEAN_ROWS,
    RATE_COLUMNS,
    better_line,
    decision_rows,
    headlines,
    not_scored_lines,
    official_scores,
    percent,
    title_of,
    type_rows,
)
from asd.text.terminal import open_console, plain

MAX_MACHINES = 60  # with a row of their own


def print_report(report: Report, told: Collection[str] = ()) -> None:
    """All that a terminal shows of a report; told: texts of warnings that it has shown."""
    console = open_console()
    console.print(console_table(report, told))
    if report.better is not None and report.better.export:
        console.print(f"  {report.better.export}", soft_wrap=True)  # on one line, to be copied


def console_table(report: Report, told: Collection[str] = ()) -> Group:
    """The year's numbers of every scorer in percent, a row per machine type and mean, the best of a row bold; the two
    halves of a set side by side, the worth of the decisions, and what else a person should know."""
    parts: list[RenderableType] = [plain(title_of(report), "bold")]
    if report.evaluation is not None and report.primary:
        found = {title: half.headline(report.layout, report.primary) for title, half in report.halves.items()}
        parts += [plain(f"development and evaluation, {report.primary}"), type_table(report.layout, found)]
    for title, half in report.halves.items():
        if half.scorers:
            parts.append(_scorers(report.layout, title, headlines(report, half), report.baselines))
    if rows := decision_rows(report):
        parts += [plain(f"decisions of {report.primary} at its thresholds"), _decisions(rows)]
    return Group(*parts, *_notes(report, told))


def type_table(layout: str, found: Mapping[str, Headline]) -> FittingTable:
    """One system's numbers, a row per machine type and mean: of its halves (title → headline) side by side."""
    table = FittingTable("%")
    for half, own in found.items():
        for title in own.titles:
            table.add_column(f"{half} {title}".strip())
    rows = type_rows([*found.values()])
    for at, (name, groups) in enumerate(rows):
        if name in MEAN_ROWS and rows[at - 1][0] not in MEAN_ROWS:
            table.add_line()
        style = "bold" if name in MEAN_ROWS else ""
        table.add_row(name, [percent(value) for values in groups for value in values], style)
    if scores := official_scores(layout, [*found.values()]):
        blank = [""] * (len(next(iter(found.values())).titles) - 1)
        table.add_row("official score", [cell for score in scores for cell in (percent(score), *blank)], "bold")
    return table


def _scorers(layout: str, half: str, found: Mapping[str, Headline], baselines: Sequence[str]) -> FittingTable:
    first = next(iter(found.values()))
    table = FittingTable(f"{half} {'/ '.join(first.titles)} %".strip())  # the space: wrapped there, not in a word
    for name in found:
        table.add_column(name.replace("_", " "), "dim" if name in baselines else "")
    rows = type_rows([*found.values()])
    for at, (name, groups) in enumerate(rows):
        if name in MEAN_ROWS and rows[at - 1][0] not in MEAN_ROWS:
            table.add_line()
        table.add_row(name, _cells(groups))
    if scores := official_scores(layout, [*found.values()]):
        table.add_row("official score", _cells([(score,) for score in scores]))
    return table


def _cells(groups: Sequence[Values]) -> list[Text]:
    """`81.20/70.30` of every scorer, the best of each number bold."""
    best = [max((v for v in column if v is not None), default=None) for column in zip(*groups, strict=True)]
    return [
        Text("/").join(
            Text(percent(v), "bold" if v is not None and v == top else "") for v, top in zip(values, best, strict=True)
        )
        for values in groups
    ]


def _decisions(rows: Sequence[tuple[str, list[str], bool]]) -> FittingTable:
    table = FittingTable("machine")
    for title in DECISION_COLUMNS:
        table.add_column(f"{title} %" if title in RATE_COLUMNS else title)
    few = len(rows) <= MAX_MACHINES
    for name, cells, is_total in rows:
        if few or is_total:
            table.add_row(name, cells, "bold" if is_total else "")
    return table


def _notes(report: Report, told: Collection[str]) -> list[Text]:
    notes = [Text(ORACLE_WARNING, "bold red")] if report.is_oracle else []
    notes += [plain(f"warning: {w.text}", "bold yellow") for w in report.warnings if w.text not in told]
    test = [half.test for half in report.halves.values()]
    unlabelled, clips = sum(own.unlabelled for own in test), sum(own.clips for own in test)
    lines = [f"{unlabelled} of {clips} test clips have no label"] if unlabelled else []
    if report.unreadable_clips:
        lines.append(f"{report.unreadable_clips} clips could not be read and are left out")
    notes += [plain(line, "dim") for line in [*report.notes, *lines, *not_scored_lines(report)]]
    if report.better is not None:
        notes.append(plain(f"{better_line(report)}{'; a detector with it:' if report.better.export else ''}", "yellow"))
    return notes
