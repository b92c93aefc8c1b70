"""The text of report.md: every number of report.json that a person looks for, in percent."""

from __future__ import annotations

from collections.abc import Sequence

from asd.dcase.headline import Headline, columns_of, counts_ids, definition
from asd.metrics import METRICS, arithmetic_mean
from asd.metrics.numbers import known
from asd.report.build import ORACLE_WARNING
from asd.report.model import Report
from asd.report.rows import (
    DECISION_COLUMNS,
    MEAN_ROWS,
    better_line,
    decision_rows,
    headlines,
    not_scored_lines,
    official_scores,
    percent,
    title_of,
    type_rows,
)
from asd.text.markdown import escaped, markdown_table

POOLED_NOTE = (
    "Pooled puts all IDs of a type into one ROC, which also asks that their scores share a scale: another number, not "
    "comparable with the per-ID rule. mAUC is the lowest ID's AUC of a type."
)
DECISION_NOTE = (
    "Decisions: hit rate is the share of the anomalies above their machine's threshold (recall), false alarms the "
    "share of the normal clips above it; `all`: the clips of all machines together."
)
# Key in report.json → title.
MEANS = {
    **{metric.key: metric.title for metric in METRICS},
    **{metric.harmonic: f"{metric.title} harmonic" for metric in METRICS},
    **{metric.mean_of_lowest: f"m{metric.title}" for metric in METRICS if metric.with_lowest},
    **{metric.pooled: f"{metric.title} pooled" for metric in METRICS},
}
POOLED = {
    **{metric.mean: f"{metric.title}, mean over IDs" for metric in METRICS},
    **{metric.pooled: f"{metric.title}, IDs pooled" for metric in METRICS},
    **{metric.lowest: f"m{metric.title}, lowest ID" for metric in METRICS if metric.with_lowest},
}


def markdown(report: Report) -> str:
    """The text of report.md."""
    parts = [f"# Evaluation {escaped(title_of(report))}".rstrip(), *_warnings(report), _facts(report)]
    if report.scorers:
        parts += [*_halves(report), *_by_type(report), *_pooled(report), *_means(report), *_decisions(report)]
        parts += [*_thresholds(report), *_by_id(report)]
    notes = [definition(report.layout)]
    notes += [POOLED_NOTE] if counts_ids(report.layout) else []
    notes += [DECISION_NOTE] if decision_rows(report) else []
    parts += ["## What the numbers are", "\n".join(f"- {line}" for line in notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _warnings(report: Report) -> list[str]:
    found = [f"**{ORACLE_WARNING}.**"] if report.is_oracle else []
    found += [f"**Warning: {escaped(warning.text)}.**" for warning in report.warnings]
    if better := report.better:
        command = f" A detector with it:\n\n    {better.export}" if better.export else ""
        found.append(f"{escaped(better_line(report))}.{command}")
    return found


def _facts(report: Report) -> str:
    facts = {
        "checkpoint": report.checkpoint,
        "shards": report.shards,
        "fingerprint": report.fingerprint,
        "checkpoint chosen by": report.selection.rule if report.selection else None,
    }
    lines = [f"- {name}: {escaped(value)}" for name, value in facts.items() if value is not None]
    for title, half in report.halves.items():
        test = half.test
        counts = f"{test.normals} normals, {test.anomalies} anomalies, {test.unlabelled} unlabelled"
        lines.append(f"- {f'{title} ' if title else ''}test clips: {test.clips} ({counts})")
    lines[-1] += f"; unreadable clips: {report.unreadable_clips}"
    return "\n".join([*lines, *(f"- {escaped(line)}" for line in (*report.notes, *not_scored_lines(report)))])


def _halves(report: Report) -> list[str]:
    """The two halves of one model side by side, by the primary scorer."""
    if report.evaluation is None:
        return []
    found = {title: half.headline(report.layout, report.primary) for title, half in report.halves.items()}
    head = [f"{half} {title}" for half, own in found.items() for title in own.titles]
    return [f"## Dev and Eval, {escaped(report.primary)}", type_table(report.layout, head, [*found.values()])]


def _by_type(report: Report) -> list[str]:
    parts = []
    for title, half in report.halves.items():
        found, head = headlines(report, half), []
        for name, own in found.items():
            mark = " (untrained)" if name in report.baselines else ""
            head += [f"{name}{mark} {own.titles[0]}", *own.titles[1:]]
        table = type_table(report.layout, head, [*found.values()])
        parts += [_of_half("## By machine type and scorer", title), table]
    return parts


def _of_half(heading: str, title: str) -> str:
    return f"{heading}, {title}" if title else heading


def type_table(layout: str, head: Sequence[str], found: Sequence[Headline]) -> str:
    """A row per machine type, the means and the official score in bold; a group of columns for each headline."""
    rows = [[escaped(name), *(percent(v) for values in groups for v in values)] for name, groups in type_rows(found)]
    if scores := official_scores(layout, found):
        blank = [""] * (len(found[0].titles) - 1)
        rows.append(["official score", *(cell for score in scores for cell in (percent(score), *blank))])
    bold = (*MEAN_ROWS, "official score")
    rows = [[f"**{cell}**" if cell and row[0] in bold else cell for cell in row] for row in rows]
    return markdown_table(["machine type", *head], rows)


def _pooled(report: Report) -> list[str]:
    """The table of publications that pool the IDs of a type, each number called by what it is."""
    parts = []
    for title, half in report.halves.items() if report.layout == "dcase2020" else ():
        types = half.scorers[report.primary].types
        rows = [[escaped(name), *(percent(own[key]) for key in POOLED)] for name, own in types.items()]
        average = [known(arithmetic_mean(own[key] for own in types.values())) for key in POOLED]
        bold = [f"**{cell}**" for cell in ("average", *map(percent, average))]
        table = markdown_table(["machine type", *POOLED.values()], [*rows, bold])
        parts += [_of_half(f"## IDs apart and pooled, {report.primary}", title), table]
    return parts


def _means(report: Report) -> list[str]:
    parts = []
    for title, half in report.halves.items() if counts_ids(report.layout) else ():
        means = {name: half.scorers[name].mean for name in report.scorer_order}
        rows = [[name, *(percent(mean.get(key)) for key in MEANS)] for name, mean in means.items()]
        table = markdown_table(["scorer", *MEANS.values()], rows)
        parts += [_of_half("## Means over the machine types", title), table]
    return parts


def _decisions(report: Report) -> list[str]:
    rows = [
        [f"**{cell}**" if is_total else cell for cell in (escaped(name), *cells)]
        for name, cells, is_total in decision_rows(report)
    ]
    head = f"## Decisions of {report.primary} at its thresholds"
    return [head, markdown_table(["machine", *DECISION_COLUMNS], rows)] if rows else []


def _thresholds(report: Report) -> list[str]:
    """What each threshold is, how it was found and what it rests on."""
    rows = [
        [escaped(machine), f"{own.value:.5g}", own.rule, str(own.clips), str(own.recordings), own.reason]
        for machine, own in report.thresholds.items()
    ]
    head = ["machine", "threshold", "rule", "normal clips", "recordings", "why no gamma"]
    return [f"## Thresholds of {report.primary}", markdown_table(head, rows)] if rows else []


def _by_id(report: Report) -> list[str]:
    """The primary scorer's numbers of every machine ID, or section."""
    per_id, columns, rows = counts_ids(report.layout), columns_of(report.layout).of_section, []
    for half in report.halves.values():
        official = half.official.get(report.primary)
        for name, numbers in half.scorers[report.primary].types.items():
            sections = official.machines[name].sections if official and name in official.machines else {}
            for unit, own in numbers.ids.items():
                shown = own.numbers if per_id else sections.get(unit, {})
                counts = map(str, (own.normals, own.anomalies, own.unlabelled))
                rows.append([escaped(name), escaped(unit), *(percent(shown.get(key)) for key in columns), *counts])
    head = ["machine type", "ID" if per_id else "section", *columns.values(), "normals", "anomalies", "unlabelled"]
    return [f"## {report.primary} by {'machine ID' if per_id else 'section'}", markdown_table(head, rows)]
