"""The rows of a report's tables, as words and numbers: what the terminal and report.md share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asd.dcase.halves import EVALUATION
from asd.dcase.headline import Headline, Values, counts_ids, headline_of
from asd.report.build import Report, scorer_order

MEAN_ROWS = ("mean", "harmonic mean")
DECISION_COLUMNS = ("anomalies", "hit rate", "normals", "false alarms", "F1")


def percent(value: float | None) -> str:
    """A fraction in percent with two decimals; a dash where it could not be computed."""
    return "-" if value is None else f"{100 * value:.2f}"


def halves_of(report: Report) -> dict[str, Mapping[str, Any]]:
    """Title of a half → its part of the report; one without a title where there is one."""
    return {"Dev": report, "Eval": report[EVALUATION]} if EVALUATION in report else {"": report}


def headlines(report: Report, part: Mapping[str, Any]) -> dict[str, Headline]:
    """Every scorer's headline, in the order of tables."""
    layout = report.get("layout", "")
    return {name: headline_of(part, layout, name) for name in scorer_order(report) if name in part["scorers"]}


def type_rows(found: Sequence[Headline]) -> list[tuple[str, list[Values]]]:
    """(row name, the numbers of every column group): one row a machine type, then the means."""
    types = list(dict.fromkeys(name for own in found for name in own.types))
    means = list(dict.fromkeys(name for own in found for name in own.means))
    rows = [(name, [own.types.get(name, (None,) * len(own.titles)) for own in found]) for name in types]
    return rows + [(name, [own.means[name] for own in found]) for name in means]


def official_scores(layout: str, found: Sequence[Headline]) -> list[float | None]:
    """The year's official scores; empty where it has none."""
    return [] if counts_ids(layout) else [own.official_score for own in found]


def decision_rows(report: Report) -> list[tuple[str, list[str], bool]]:
    """(machine, DECISION_COLUMNS, False), then (all machines together, …, True); empty where nothing was decided."""
    rows: list[tuple[str, list[str], bool]] = []
    for half, part in halves_of(report).items():
        if found := part.get("decisions"):
            rows += [(name, _decided(own), False) for name, own in found["machines"].items()]
            rows.append((f"all, {half}" if half else "all", _decided(found["all"]), True))
    return rows


def _decided(own: Mapping[str, Any]) -> list[str]:
    rates = [percent(own[name]) for name in ("hit_rate", "false_alarm_rate", "f1")]
    return [str(own["anomalies"]), rates[0], str(own["normals"]), *rates[1:]]


def title_of(report: Report) -> str:
    """`demo · epoch 6 · step 120`"""
    named = [str(report["run"])] if report.get("run") else []
    named += [f"epoch {round(report['epoch'], 2):g}"] if report.get("epoch") is not None else []
    named += [f"step {report['step']}"] if report.get("step") is not None else []
    return " · ".join(named)


def better_line(report: Report) -> str:
    """One sentence where another scorer stands above the primary one; empty where none does."""
    better = report.get("better")
    if not better:
        return ""
    what = "mean of AUC and pAUC" if counts_ids(report.get("layout", "")) else "official score"
    numbers = f"{what} {percent(better['primary_quality'])} against {percent(better['quality'])}"
    return f"{report['primary']} (primary) is below {better['scorer']} on these test clips: {numbers}"


def not_scored_lines(report: Report) -> list[str]:
    """One line a machine type and reason, with all the IDs."""
    found: dict[tuple[str, str], list[str]] = {}
    for part in halves_of(report).values():
        for row in part["not_scored"]:
            found.setdefault((row["machine_type"], row["reason"]), []).append(row["machine_id"])
    return [f"not scored: {name} {', '.join(ids)} ({reason})" for (name, reason), ids in found.items()]
