"""A sweep's numbers as tables, on the terminal and as Markdown: all configs, then machine types."""

from __future__ import annotations

import itertools

from rich.console import Group, RenderableType

from asd.dcase.halves import DEVELOPMENT, EVALUATION
from asd.dcase.headline import Headline, definition
from asd.metrics import AUC, METRICS
from asd.report import percent
from asd.report.console import type_table
from asd.report.fitting import FittingTable
from asd.report.markdown import type_table as markdown_types
from asd.sweep.numbers import Row, Spread, Table
from asd.text.markdown import escaped, markdown_table
from asd.text.terminal import plain

TITLES = {DEVELOPMENT: "Dev", EVALUATION: "Eval"}
NOTE = (
    "± is the standard deviation over seeds. Oracle: the checkpoint was chosen on the test clips. Official: the year's "
    "official score, and the harmonic means over sections that it is made of."
)


def markdown(table: Table) -> str:
    """Every number of the sweep but those of single seeds."""
    head, rows = _rows(table)
    parts = [markdown_table([*map(escaped, head)], [[*map(escaped, row[:2]), *row[2:]] for row in rows])]
    for half in _halves(table):
        columns = _type_columns(table, half)
        by_type = [
            [escaped(name), escaped(scorer), *_type_cells(row, half, columns)]
            for name, scorers in table.items()
            for scorer, row in scorers.items()
        ]
        parts.append(f"## {_by_type_title(table, half)}")
        parts.append(markdown_table(["config", "scorer", *map(escaped, columns)], by_type))
    for name, scorer, found in _side_by_side(table):
        head = [f"{half} {title}" for half, own in found.items() for title in own.titles]
        parts.append(f"## Dev and Eval, {escaped(name)}, {escaped(scorer)}")
        parts.append(markdown_types(_first(table).layout, head, [*found.values()]))
    return "\n\n".join([*parts, f"{definition(_first(table).layout)} {NOTE}"]) + "\n"


def console_table(table: Table) -> Group:
    """The same for a terminal, without the parts of the official score."""
    head, rows = _rows(table)
    skipped = ("official ", "config", "scorer", "seeds")
    shown = [at for at, title in enumerate(head) if title == "official score" or not title.startswith(skipped)]
    overview = FittingTable("config, scorer")
    for at in shown:
        overview.add_column(head[at].removesuffix(" score"))
    for name, scorers in itertools.groupby(rows, key=lambda row: row[0]):
        overview.add_row(name, [""] * len(shown), "bold")
        for row in scorers:
            overview.add_row(f"  {row[1]}", [row[at] for at in shown])
    parts: list[RenderableType] = ["in percent; oracle: the checkpoint was chosen on the test clips"]
    parts.append(overview)
    for half in _halves(table):
        parts += [f"\n{_by_type_title(table, half)}", _by_type(table, half)]
    for name, scorer, found in _side_by_side(table):
        parts += [plain(f"development and evaluation, {name}, {scorer}"), type_table(_first(table).layout, found)]
    return Group(*parts)


def _first(table: Table) -> Row:
    return next(iter(next(iter(table.values())).values()))


def _halves(table: Table) -> list[str]:
    """Those that every config has numbers of."""
    everyone = [row for scorers in table.values() for row in scorers.values()]
    return [half for half in TITLES if all(half in row.halves for row in everyone)]


def _rows(table: Table) -> tuple[list[str], list[list[str]]]:
    columns = {metric.key: metric.title for metric in METRICS} | {f"{AUC.key}_oracle": f"{AUC.title}, oracle"}
    official = {key: f"official {key.replace('_', ' ')}" for key in _first(table).official or ()}
    head = ["config", "scorer", "seeds", *columns.values(), *official.values()]
    rows = [
        [
            name,
            scorer,
            str(row.seeds),
            *(_pair(row.numbers[key]) for key in columns),
            *("–" if row.official is None else _pair(row.official[key]) for key in official),
        ]
        for name, scorers in table.items()
        for scorer, row in scorers.items()
    ]
    return head, rows


def _pair(own: Spread) -> str:
    return percent(own.mean) + ("" if own.sd is None else f" ± {percent(own.sd)}")


# ---- machine types -------------------------------------------------------------------------------------------------


def _by_type_title(table: Table, half: str) -> str:
    """What a cell holds, and of which half where there are two."""
    numbers = " / ".join(_first(table).halves[DEVELOPMENT].titles)
    return f"By machine type: {numbers}" + (f", {TITLES[half]}" if len(_halves(table)) > 1 else "")


def _type_columns(table: Table, half: str) -> list[str]:
    found = [row.halves[half] for scorers in table.values() for row in scorers.values()]
    return list(dict.fromkeys(name for own in found for part in (own.types, own.means) for name in part))


def _type_cells(row: Row, half: str, columns: list[str]) -> list[str]:
    """`81.20/70.30` of every machine type and of the means."""
    rows = row.halves[half].types | row.halves[half].means
    return ["/".join(map(percent, rows[name])) if name in rows else "–" for name in columns]


def _by_type(table: Table, half: str) -> FittingTable:
    columns = _type_columns(table, half)
    found = FittingTable("config, scorer")
    for title in columns:
        found.add_column(title)
    for name, scorers in table.items():
        found.add_row(name, [""] * len(columns), "bold")
        for scorer, row in scorers.items():
            found.add_row(f"  {scorer}", _type_cells(row, half, columns))
    return found


def _side_by_side(table: Table) -> list[tuple[str, str, dict[str, Headline]]]:
    """(config, its primary scorer, the halves' headlines) of every config that has both halves."""
    firsts = [(name, *next(iter(scorers.items()))) for name, scorers in table.items()]
    return [
        (name, scorer, {title: row.halves[half] for half, title in TITLES.items()})
        for name, scorer, row in firsts
        if EVALUATION in row.halves
    ]
