"""The rows of a report's tables, as words and numbers: what the terminal and report.md share."""

from __future__ import annotations

from collections.abc import Sequence

from asd.dcase.headline import HARMONIC_MEAN, MEAN, Headline, Values, counts_ids
from asd.metrics import AUC, PAUC
from asd.metrics.detections import Rates
from asd.report.model import Half, Report

MEAN_ROWS = (MEAN, HARMONIC_MEAN)
DECISION_COLUMNS = ("anomalies", "hit rate", "normals", "false alarms", "F1")
RATE_COLUMNS = ("hit rate", "false alarms", "F1")  # in percent


def percent(value: float | None) -> str:
    """A fraction in percent with two decimals; a dash where it could not be computed."""
    return "-" if value is None else f"{100 * value:.2f}"


def headlines(report: Report, half: Half) -> dict[str, Headline]:
    """Every scorer's headline, in the order of tables."""
    return {name: half.headline(report.layout, name) for name in report.scorer_order if name in half.scorers}


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
    for title, half in report.halves.items():
        if found := half.decisions:
            rows += [(name, _decided(own), False) for name, own in found.machines.items()]
            rows.append((f"all, {title}" if title else "all", _decided(found.all), True))
    return rows


def _decided(own: Rates) -> list[str]:
    rates = map(percent, (own.false_alarm_rate, own.f1))
    return [str(own.anomalies), percent(own.hit_rate), str(own.normals), *rates]


def title_of(report: Report) -> str:
    """`demo · epoch 6 · step 120`"""
    named = [report.run] if report.run else []
    named += [f"epoch {round(report.epoch, 2):g}"] if report.epoch is not None else []
    named += [f"step {report.step}"] if report.step is not None else []
    return " · ".join(named)


def better_line(report: Report) -> str:
    """One sentence where another scorer beats the primary one; else empty."""
    better = report.better
    if better is None:
        return ""
    what = f"mean of {AUC.title} and {PAUC.title}" if counts_ids(report.layout) else "official score"
    numbers = f"{what} {percent(better.primary_quality)} against {percent(better.quality)}"
    return f"{report.primary} (primary) is below {better.scorer} on these test clips: {numbers}"


def not_scored_lines(report: Report) -> list[str]:
    """One line a machine type and reason, with all the IDs."""
    found: dict[tuple[str, str], list[str]] = {}
    for half in report.halves.values():
        for row in half.not_scored:
            found.setdefault((row.machine_type, row.reason), []).append(row.machine_id)
    return [f"not scored: {name} {', '.join(ids)} ({reason})" for (name, reason), ids in found.items()]
