"""The text of report.md: every number of report.json that a person looks for, in percent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asd.dcase.halves import EVALUATION
from asd.dcase.headline import Headline, counts_ids, definition
from asd.dcase.rules import RULES
from asd.metrics.auc import arithmetic_mean
from asd.report.build import ORACLE_WARNING, Report, is_oracle, scorer_order
from asd.report.rows import (
    DECISION_COLUMNS,
    MEAN_ROWS,
    better_line,
    decision_rows,
    halves_of,
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
MEANS = {
    "auc": "AUC", "pauc": "pAUC", "auc_harmonic": "AUC harmonic", "pauc_harmonic": "pAUC harmonic", "mauc": "mAUC",
    "auc_pooled": "AUC pooled", "pauc_pooled": "pAUC pooled",
}  # fmt: skip
COUNTS = ("normals", "anomalies", "unlabelled")  # of test clips
POOLED = {
    "auc_mean": "AUC, mean over IDs", "pauc_mean": "pAUC, mean over IDs", "auc_pooled": "AUC, IDs pooled",
    "pauc_pooled": "pAUC, IDs pooled", "auc_min": "mAUC, lowest ID",
}  # fmt: skip
THRESHOLD_COLUMNS = {"clips": "normal clips", "recordings": "recordings", "reason": "why no gamma"}
SECTION_TITLES = {
    "auc_source": "AUC source", "auc_target": "AUC target", "pauc": "pAUC", "pauc_source": "pAUC source",
    "pauc_target": "pAUC target",
}  # fmt: skip


def markdown(report: Report) -> str:
    """The text of report.md."""
    parts = [f"# Evaluation {escaped(title_of(report))}".rstrip(), *_warnings(report), _facts(report)]
    if report["scorers"]:
        parts += [*_halves(report), *_by_type(report), *_pooled(report), *_means(report), *_decisions(report)]
        parts += _thresholds(report)
        parts += [f"## {report['primary']} by {_unit(report)}", _id_table(report)]
    notes = [definition(report.get("layout", ""))]
    notes += [POOLED_NOTE] if counts_ids(report.get("layout", "")) else []
    notes += [DECISION_NOTE] if decision_rows(report) else []
    parts += ["## What the numbers are", "\n".join(f"- {line}" for line in notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _warnings(report: Report) -> list[str]:
    found = [f"**{ORACLE_WARNING}.**"] if is_oracle(report) else []
    found += [f"**Warning: {escaped(warning['text'])}.**" for warning in report.get("warnings", [])]
    if line := better_line(report):
        command = report["better"]["export"]
        found.append(f"{escaped(line)}." + (f" A detector with it:\n\n    {command}" if command else ""))
    return found


def _facts(report: Report) -> str:
    selection = report.get("selection") or {}
    facts = {name: report.get(name) for name in ("checkpoint", "shards", "fingerprint")}
    facts |= {"checkpoint chosen by": selection.get("rule")}
    lines = [f"- {name}: {escaped(value)}" for name, value in facts.items() if value is not None]
    for half, part in halves_of(report).items():
        test = part["test"]
        counts = ", ".join(f"{test[name]} {name}" for name in ("normals", "anomalies", "unlabelled"))
        lines.append(f"- {f'{half} ' if half else ''}test clips: {test['clips']} ({counts})")
    lines[-1] += f"; unreadable clips: {report.get('unreadable_clips', 0)}"
    return "\n".join([*lines, *(f"- {escaped(line)}" for line in not_scored_lines(report))])


def _halves(report: Report) -> list[str]:
    """The two halves of one model side by side, by the primary scorer."""
    if EVALUATION not in report:
        return []
    found = {half: headlines(report, part)[report["primary"]] for half, part in halves_of(report).items()}
    head = [f"{half} {title}" for half, own in found.items() for title in own.titles]
    return [
        f"## Dev and Eval, {escaped(report['primary'])}",
        type_table(report.get("layout", ""), head, [*found.values()]),
    ]


def _by_type(report: Report) -> list[str]:
    parts = []
    for half, part in halves_of(report).items():
        found, head = headlines(report, part), []
        for name, own in found.items():
            mark = " (untrained)" if name in report["baselines"] else ""
            head += [f"{name}{mark} {own.titles[0]}", *own.titles[1:]]
        title = "## By machine type and scorer" + (f", {half}" if half else "")
        parts += [title, type_table(report.get("layout", ""), head, [*found.values()])]
    return parts


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
    for half, part in halves_of(report).items() if report.get("layout") == "dcase2020" else ():
        types = part["scorers"][report["primary"]]["types"]
        rows = [[escaped(name), *(percent(own[key]) for key in POOLED)] for name, own in types.items()]
        average = [_average(own[key] for own in types.values()) for key in POOLED]
        title = f"## IDs apart and pooled, {report['primary']}" + (f", {half}" if half else "")
        bold = [f"**{cell}**" for cell in ("average", *map(percent, average))]
        parts += [title, markdown_table(["machine type", *POOLED.values()], [*rows, bold])]
    return parts


def _average(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return arithmetic_mean(known) if known else None


def _means(report: Report) -> list[str]:
    if not counts_ids(report.get("layout", "")):
        return []
    parts = []
    for half, part in halves_of(report).items():
        rows = [
            [name, *(percent(part["scorers"][name]["mean"][key]) for key in MEANS)] for name in scorer_order(report)
        ]
        title = "## Means over the machine types" + (f", {half}" if half else "")
        parts += [title, markdown_table(["scorer", *MEANS.values()], rows)]
    return parts


def _decisions(report: Report) -> list[str]:
    rows = [
        [f"**{cell}**" if is_total else cell for cell in (escaped(name), *cells)]
        for name, cells, is_total in decision_rows(report)
    ]
    if not rows:
        return []
    return [
        f"## Decisions of {report['primary']} at its thresholds",
        markdown_table(["machine", *DECISION_COLUMNS], rows),
    ]


def _thresholds(report: Report) -> list[str]:
    """What each threshold is, how it was found and what it rests on."""
    rows = [
        [escaped(machine), f"{own['value']:.5g}", own["rule"], *(str(own.get(name, "")) for name in THRESHOLD_COLUMNS)]
        for machine, own in report.get("thresholds", {}).items()
    ]
    head = ["machine", "threshold", "rule", *THRESHOLD_COLUMNS.values()]
    return [f"## Thresholds of {report['primary']}", markdown_table(head, rows)] if rows else []


def _unit(report: Report) -> str:
    return "machine ID" if counts_ids(report.get("layout", "")) else "section"


def _id_table(report: Report) -> str:
    layout = report.get("layout", "")
    keys = {"auc": "AUC", "pauc": "pAUC"}
    if not counts_ids(layout):
        keys = {key: SECTION_TITLES[key] for key in RULES[layout].official}
    head = ["machine type", _unit(report).removeprefix("machine "), *keys.values(), *COUNTS]
    rows = []
    for part in halves_of(report).values():
        types = part["scorers"][report["primary"]]["types"]
        machines = (part["official"].get(report["primary"]) or {}).get("machines", {})
        for name, numbers in types.items():
            for machine_id, own in numbers["ids"].items():
                by_year = own if counts_ids(layout) else machines.get(name, {}).get("sections", {}).get(machine_id, {})
                counts = [str(own[key]) for key in COUNTS]
                rows.append([escaped(name), escaped(machine_id), *(percent(by_year.get(key)) for key in keys), *counts])
    return markdown_table(head, rows)
