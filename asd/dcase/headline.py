"""The main metrics of a year: a few numbers of each machine type, their means, and one number of all.

2020, and sets of no year  AUC and pAUC of each machine ID, arithmetic mean over the IDs of a type; over the types
                           the arithmetic and the harmonic mean
2021                       AUC and pAUC: harmonic means over sections and domains, of a type and of all types
from 2022                  AUC source, AUC target and pAUC: harmonic means over sections, of a type and of all types
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asd.dcase.numbers import OfficialMachine
from asd.dcase.rules import DOMAINS, LAYOUTS, of_domain, of_domains, over_runs, rule_of
from asd.metrics import AUC, METRICS, PAUC, arithmetic_mean, harmonic_mean
from asd.metrics.numbers import Numbers, known

Values = tuple[float | None, ...]

MEAN, HARMONIC_MEAN = "mean", "harmonic mean"


@dataclass(frozen=True)
class Columns:
    """Key in report.json → title of the numbers that a layout's systems are compared by."""

    of_type: Mapping[str, str]
    of_section: Mapping[str, str]  # or machine ID


_TITLES = {metric.key: metric.title for metric in METRICS}
_AUC_BY_DOMAIN = {of_domain(AUC.key, domain): f"{AUC.title} {domain}" for domain in DOMAINS}
_FROM_2022 = _AUC_BY_DOMAIN | {key: title for key, title in _TITLES.items() if key != AUC.key}
PER_ID = Columns({metric.mean: metric.title for metric in METRICS}, _TITLES)
OF_2021 = Columns(
    {of_domains(key): title for key, title in _TITLES.items()},
    {of_domain(key, domain): f"{title} {domain}" for key, title in _TITLES.items() for domain in DOMAINS},
)
FROM_2022 = Columns(_FROM_2022, _FROM_2022)


class Headline(Numbers, frozen=True):
    """One scorer's numbers, fractions of 1; None where one cannot be computed.

    headline["auc"]: of everything (from 2022: of both domains). types, means: row name → a number for each title.
    quality orders systems: in 2020 the mean over the types of AUC and pAUC, from 2021 the harmonic mean that is the
    official score, computed also where a part of that is missing.
    """

    titles: tuple[str, ...]
    types: dict[str, Values]
    means: dict[str, Values]
    official_score: float | None  # None in 2020, too
    quality: float | None


def counts_ids(layout: str) -> bool:
    """Whether a layout's headline is made of machine IDs' ROCs: in 2020, and where no year's rule applies."""
    return layout == "dcase2020" or layout not in LAYOUTS


def columns_of(layout: str) -> Columns:
    """What a layout's systems are compared by."""
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


def headline(layout: str, types: Mapping[str, Numbers], machines: Mapping[str, OfficialMachine]) -> Headline:
    """types: metrics of the machine types; machines: their official numbers, empty where there are none.

    Where there are official numbers alone, these are both.
    """
    return _per_id(types) if counts_ids(layout) else _per_section(layout, types, machines)


def _per_id(types: Mapping[str, Numbers]) -> Headline:
    keys = PER_ID.of_type
    columns = {key: [own[key] for own in types.values()] for key in keys}
    means, harmonic = (
        tuple(known(mean(column)) for column in columns.values()) for mean in (arithmetic_mean, harmonic_mean)
    )
    overall: dict[str, Any] = dict(zip(_TITLES, means, strict=True))
    return Headline(
        **overall,
        titles=tuple(keys.values()),
        types={name: tuple(own[key] for key in keys) for name, own in types.items()},
        means={MEAN: means, HARMONIC_MEAN: harmonic},
        official_score=None,
        quality=known(arithmetic_mean([overall[AUC.key], overall[PAUC.key]])),
    )


def _per_section(layout: str, types: Mapping[str, Numbers], machines: Mapping[str, OfficialMachine]) -> Headline:
    keys = columns_of(layout).of_type
    score, means = over_runs(layout, machines.values()) if machines else (None, {})
    of_type = {name: machines[name].harmonic_mean if name in machines else {} for name in types}
    overall: dict[str, Any] = {key: means.get(of_domains(key), means.get(key)) for key in _TITLES}
    sections = [section for own in machines.values() for section in own.sections.values()]
    return Headline(
        **overall,
        titles=tuple(keys.values()),
        types={name: tuple(own.get(key) for key in keys) for name, own in of_type.items()},
        means={HARMONIC_MEAN: tuple(means.get(key) for key in keys)},
        official_score=score,
        quality=known(harmonic_mean(section[key] for section in sections for key in rule_of(layout).official)),
    )
