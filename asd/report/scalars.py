"""A report's numbers as TensorBoard's curves."""

from __future__ import annotations

from collections.abc import Mapping

from asd.dcase.halves import EVALUATION
from asd.dcase.headline import columns_of, counts_ids
from asd.metrics import METRICS
from asd.report.model import Half, Report


def scalars(report: Report) -> dict[str, float]:
    """Fractions of 1, by the year's rule; what could not be computed is left out.

    2020: `auc/<scorer>/<type>`, `pauc/…`, and means `mean/auc/<scorer>`, `mean/mauc/…` …. From 2021 `auc/…` (from 2022
    `auc_source/…`, `auc_target/…`), `pauc/…`, `harmonic_mean/auc/<scorer>` …, `official_score/<scorer>`.
    The primary scorer also has `auc_by_id/<scorer>/<type>/<id>` …. The evaluation half's begin with `evaluation/`.
    """
    found = _of_half(report, report)
    if report.evaluation is not None:
        found |= {f"{EVALUATION}/{tag}": value for tag, value in _of_half(report, report.evaluation).items()}
    return {tag: value for tag, value in found.items() if value is not None}


def _of_half(report: Report, half: Half) -> dict[str, float | None]:
    layout, found = report.layout, dict[str, float | None]()
    names = [title.lower().replace(" ", "_") for title in columns_of(layout).of_type.values()]
    for scorer, numbers in half.scorers.items():
        own = half.headline(layout, scorer)
        for machine_type, values in own.types.items():
            found |= {f"{name}/{scorer}/{machine_type}": value for name, value in zip(names, values, strict=True)}
        if counts_ids(layout):
            found |= {f"mean/{key}/{scorer}": value for key, value in numbers.mean.items()}
        else:
            for row, values in own.means.items():
                mean = row.replace(" ", "_")
                found |= {f"{mean}/{name}/{scorer}": value for name, value in zip(names, values, strict=True)}
            found[f"official_score/{scorer}"] = own.official_score
    return found | _by_id(layout, half, report.primary)


def _by_id(layout: str, half: Half, scorer: str) -> dict[str, float | None]:
    """Of every machine ID; from 2021 of every section: metrics of all its clips and of each domain's."""
    sections: dict[str, Mapping[str, Mapping[str, float | None]]] = {}
    if counts_ids(layout) and scorer in half.scorers:
        types = half.scorers[scorer].types
        sections = {name: {unit: one.numbers for unit, one in own.ids.items()} for name, own in types.items()}
    elif official := half.official.get(scorer):
        sections = {name: own.sections for name, own in official.machines.items()}
    return {
        f"{key}_by_id/{scorer}/{machine_type}/{machine_id}": value
        for machine_type, own in sections.items()
        for machine_id, numbers in own.items()
        for key, value in numbers.items()
        if key.startswith(tuple(metric.key for metric in METRICS))
    }
