"""Score files → the year's official numbers, as tables and as JSON (schema: docs/files.md, Score files)."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from asd.dcase.headline import Headline, definition, headline
from asd.dcase.numbers import OfficialNumbers, OfficialReport
from asd.dcase.rules import AUC_BY_DOMAIN, DOMAINS, Sections, of_domain, official_numbers
from asd.metrics import AUC, METRICS
from asd.report.console import type_table
from asd.report.fitting import FittingTable
from asd.report.rows import percent
from asd.text.terminal import plain

F1 = "f1"
KEYS = tuple(metric.key for metric in METRICS)
COLUMNS = {
    "dcase2020": (*KEYS, F1),
    "dcase2021": tuple(of_domain(key, domain) for key in (*KEYS, F1) for domain in DOMAINS),
}
COLUMNS_FROM_2022 = (
    AUC.key, *AUC_BY_DOMAIN, *(key for key in KEYS if key != AUC.key), *(of_domain(F1, domain) for domain in DOMAINS)
)  # fmt: skip
TITLES = {metric.key: metric.title for metric in METRICS} | {F1: "F1"}


def print_tables(console: Console, layout: str, report: OfficialReport) -> None:
    """The sections of each half, then the table that publications print."""
    for half, part in halves_of(report).items():
        if half:
            console.print(f"{half}:")
        console.print(official_table(part))
        console.print(closing_lines(part))
    console.print(type_table(layout, {half: headline_numbers(part) for half, part in halves_of(report).items()}))
    console.print(plain(definition(layout), "dim"))


def numbers_of(layout: str, development: Sections, evaluation: Sections, notes: list[str]) -> OfficialReport:
    """The numbers of the halves that have clips; notes: further remarks."""
    first = official_numbers(layout, development or evaluation)
    both = {"evaluation": official_numbers(layout, evaluation)} if development and evaluation else {}
    return OfficialReport(**dict(first) | {"notes": [*first.notes, *notes]} | both)


def halves_of(report: OfficialReport) -> dict[str, OfficialNumbers]:
    return {"": report} if report.evaluation is None else {"Dev": report, "Eval": report.evaluation}


def headline_numbers(part: OfficialNumbers) -> Headline:
    return headline(part.layout, part.machines, part.machines)


def official_table(report: OfficialNumbers) -> FittingTable:
    """In percent, a row per section, the mean of a machine type with several, and both means over everything."""
    columns = COLUMNS.get(report.layout, COLUMNS_FROM_2022)
    table = FittingTable(f"machine {'ID' if report.layout == 'dcase2020' else 'section'} %")
    for name in columns:
        metric, _, domain = name.partition("_")
        table.add_column(f"{TITLES[metric]} {domain}".rstrip())

    def add(name: str, numbers: Mapping[str, float | None], style: str = "") -> None:
        values = (numbers.get(key) for key in columns)
        table.add_row(name, ["–" if value is None else percent(value) for value in values], style)

    for machine, numbers in report.machines.items():
        for section, own in numbers.sections.items():
            add(f"{machine} {section}", own)
        if several := len(numbers.sections) > 1:
            add(f"{machine} mean", numbers.mean, "bold")
        if several or machine == [*report.machines][-1]:
            table.add_line()
    add("all mean", report.mean, "bold")
    add("all harmonic mean", report.harmonic_mean, "bold")
    return table


def closing_lines(report: OfficialNumbers) -> str:
    """The official score, in full, and what is missing."""
    score = report.official_score
    if report.layout == "dcase2020":
        official = "official score: none in 2020, systems were ranked by the AUC and pAUC of each machine type"
    else:
        official = f"official score: {'–' if score is None else f'{percent(score)} % ({score!r})'}"
    return "\n".join([official, *(f"note: {note}" for note in report.notes)])
