"""What the systems of a year are compared by: a few numbers of each machine type, their means, and one number of all.

2020, and sets of no year  AUC and pAUC of each machine ID, arithmetic mean over the IDs of a type; over the types
                           the arithmetic and the harmonic mean
2021                       AUC and pAUC: harmonic means over sections and domains, of a type and of all types
from 2022                  AUC source, AUC target and pAUC: harmonic means over sections, of a type and of all types
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asd.dcase.rules import LAYOUTS, over_runs, rule_of
from asd.metrics.auc import arithmetic_mean, harmonic_mean

Values = tuple[float | None, ...]
Numbers = Mapping[str, Any]  # machine type → its numbers, as report.json has them

MEAN, HARMONIC_MEAN = "mean", "harmonic mean"
PER_ID = {"auc_mean": "AUC", "pauc_mean": "pAUC"}
OF_2021 = {"auc_source_target": "AUC", "pauc_source_target": "pAUC"}
FROM_2022 = {"auc_source": "AUC source", "auc_target": "AUC target", "pauc": "pAUC"}


@dataclass(frozen=True)
class Headline:
    """One scorer's numbers, fractions of 1; None where one cannot be computed.

    types, means: row name → a number for each title. quality orders systems: in 2020 the mean over the types of AUC
    and pAUC, from 2021 the harmonic mean that is the official score, which also stands where a part of that is missing.
    """

    titles: tuple[str, ...]
    types: dict[str, Values]
    means: dict[str, Values]
    auc: float | None  # of everything; from 2022: of both domains
    pauc: float | None
    official_score: float | None  # None in 2020, too
    quality: float | None


def counts_ids(layout: str) -> bool:
    """Whether a layout's headline is made of machine IDs' ROCs: in 2020, and where no year's rule applies."""
    return layout == "dcase2020" or layout not in LAYOUTS


def keys_of(layout: str) -> dict[str, str]:
    """Key in report.json → title of the numbers that a layout's systems are compared by."""
    if counts_ids(layout):
        return PER_ID
    return OF_2021 if layout == "dcase2021" else FROM_2022


def definition(layout: str) -> str:
    """The layout's headline in a sentence, for the foot of a table."""
    metrics = "AUC and pAUC (FPR up to 0.1, McClish) in percent"
    if counts_ids(layout):
        return (
            f"{metrics}, by the DCASE 2020 rule: one ROC per machine ID, then the arithmetic mean over the IDs of a "
            "type; mean and harmonic mean are over the machine types' means."
        )
    if layout == "dcase2021":
        return (
            f"{metrics}, by the DCASE 2021 rule: one ROC per section and domain, then the harmonic mean over sections "
            "and domains, of a type and of all; the official score is that of all AUCs and pAUCs."
        )
    return (
        f"{metrics}, by the DCASE rule since 2022: the normals of a domain against the anomalies of both, pAUC over "
        "both domains, then the harmonic mean over sections, of a type and of all; the official score is that of all "
        "three numbers."
    )


def headline(layout: str, types: Numbers, machines: Numbers) -> Headline:
    """types: `scorers.<scorer>.types` of report.json; machines: `official.<scorer>.machines`, empty where there is none
    (where there are official numbers alone, the machines are the types).
    """
    return _per_id(types) if counts_ids(layout) else _per_section(layout, types, machines)


def headline_of(part: Mapping[str, Any], layout: str, scorer: str) -> Headline:
    """The same from a report, or from its part on the evaluation half."""
    official = (part.get("official") or {}).get(scorer) or {}
    return headline(layout, part["scorers"][scorer]["types"], official.get("machines", {}))


def _per_id(types: Numbers) -> Headline:
    values = {name: tuple(own[key] for key in PER_ID) for name, own in types.items()}
    columns = [[own[at] for own in values.values()] for at in range(len(PER_ID))]
    means = tuple(_of_known(arithmetic_mean, column) for column in columns)
    harmonic = tuple(_of_known(harmonic_mean, column) for column in columns)
    quality = _of_known(arithmetic_mean, means)
    rows = {MEAN: means, HARMONIC_MEAN: harmonic}
    return Headline(tuple(PER_ID.values()), values, rows, means[0], means[1], None, quality)


def _per_section(layout: str, types: Numbers, machines: Numbers) -> Headline:
    keys = keys_of(layout)
    nothing: Values = (None,) * len(keys)
    values = {
        name: tuple(machines[name]["harmonic_mean"][key] for key in keys) if name in machines else nothing
        for name in types
    }
    if not machines:
        return Headline(tuple(keys.values()), values, {HARMONIC_MEAN: nothing}, None, None, None, None)
    whole = over_runs([{"layout": layout, "machines": machines}])
    means = whole["harmonic_mean"]
    sections = [section for own in machines.values() for section in own["sections"].values()]
    parts = [section[key] for section in sections for key in rule_of(layout).official]
    return Headline(
        tuple(keys.values()),
        values,
        {HARMONIC_MEAN: tuple(means[key] for key in keys)},
        auc=means["auc_source_target"],
        pauc=means["pauc_source_target" if layout == "dcase2021" else "pauc"],
        official_score=whole["official_score"],
        quality=_of_known(harmonic_mean, parts),
    )


def _of_known(mean: Callable[[Iterable[float]], float], values: Iterable[float | None]) -> float | None:
    found = mean(math.nan if value is None else value for value in values)
    return None if math.isnan(found) else found
