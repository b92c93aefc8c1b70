"""The yearly rules of DCASE Task 2: numbers of a section, means over sections, the official score.

2020: one ROC per machine ID, no official score. 2021: one ROC per section and domain. From 2022: the normals of a
domain against the anomalies of both, pAUC over both domains. Source: the organisers' evaluators
dcase2020_task2_evaluator to dcase2026_task2_evaluator. N clips of one section (2020: machine ID).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from asd.dcase.numbers import OfficialMachine, OfficialNumbers
from asd.errors import UserError
from asd.metrics import AUC, METRICS, PAUC, arithmetic_mean, harmonic_mean, lowest
from asd.metrics.clip_scores import ANOMALY, NORMAL, ClipScores
from asd.metrics.decisions import NO_DECISION
from asd.metrics.numbers import known

SOURCE, TARGET = DOMAINS = ("source", "target")
RATES = ("precision", "recall", "f1")
EPSILON = float(np.finfo(np.float64).eps)

Numbers = dict[str, float]  # nan: it cannot be computed


@dataclass(frozen=True)
class SectionClips:
    """The test clips of one section.

    label (N,) int, 1 anomaly, 0 normal. score (N,) float64, higher = more anomalous. domain (N,) str, `source` or
    `target`, unused in 2020. decision (N,) int, 1 or 0, -1 where nobody decided.
    """

    label: np.ndarray
    score: np.ndarray
    domain: np.ndarray
    decision: np.ndarray

    def select(self, chosen: np.ndarray) -> SectionClips:
        """The clips where chosen (N,) bool holds."""
        return SectionClips(self.label[chosen], self.score[chosen], self.domain[chosen], self.decision[chosen])


Sections = Mapping[str, Mapping[str, SectionClips]]  # machine type → section → its clips


@dataclass(frozen=True)
class Rule:
    """What a year computes of a section, and which of these numbers make the official score (none in 2020)."""

    numbers: Callable[[SectionClips], Numbers]
    official: tuple[str, ...]


def of_domain(key: str, domain: str) -> str:
    """The key of a number of one domain's clips."""
    return f"{key}_{domain}"


def of_domains(key: str) -> str:
    """The key of a mean over the numbers of both domains."""
    return f"{key}_{SOURCE}_{TARGET}"


def detection_rates(labels: ArrayLike, decisions: ArrayLike) -> Numbers:
    """precision, recall, f1 of decisions (N,) of 0 and 1; a ratio of nothing is 0, as the official evaluators have it.

    nan where there is no clip or a decision is -1 (there is none).
    """
    label, decision = np.asarray(labels), np.asarray(decisions)
    if not label.size or (decision == NO_DECISION).any():
        return dict.fromkeys(RATES, math.nan)
    hits = int(np.sum((label == ANOMALY) & (decision == ANOMALY)))
    precision = hits / max(int(np.sum(decision == ANOMALY)), EPSILON)
    recall = hits / max(int(np.sum(label == ANOMALY)), EPSILON)
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / max(precision + recall, EPSILON)}


def _pooled(clips: SectionClips) -> Numbers:
    """2020: all clips in one ROC."""
    metrics = {metric.key: metric.of(clips.label, clips.score) for metric in METRICS}
    return metrics | detection_rates(clips.label, clips.decision)


def _separate_domains(clips: SectionClips) -> Numbers:
    """2021: each domain by itself."""
    own = {domain: _pooled(clips.select(clips.domain == domain)) for domain in DOMAINS}
    return {of_domain(name, domain): own[domain][name] for name in own[SOURCE] for domain in DOMAINS}


def _shared_anomalies(clips: SectionClips) -> Numbers:
    """From 2022: a system must not need to know the domain, so a domain's normals meet all anomalies."""
    numbers, rates = {metric.key: metric.of(clips.label, clips.score) for metric in METRICS}, {}
    for domain in DOMAINS:
        own = clips.domain == domain
        met = clips.select(own | (clips.label == ANOMALY))
        numbers[of_domain(AUC.key, domain)] = AUC.of(met.label, met.score)
        rates[domain] = detection_rates(clips.label[own], clips.decision[own])
    return numbers | {of_domain(rate, domain): rates[domain][rate] for rate in RATES for domain in DOMAINS}


AUC_BY_DOMAIN, PAUC_BY_DOMAIN = (tuple(of_domain(own.key, domain) for domain in DOMAINS) for own in (AUC, PAUC))
FROM_2022 = Rule(_shared_anomalies, (*AUC_BY_DOMAIN, PAUC.key))
RULES = {
    "dcase2020": Rule(_pooled, ()),
    "dcase2021": Rule(_separate_domains, (*AUC_BY_DOMAIN, *PAUC_BY_DOMAIN)),
    **{f"dcase{year}": FROM_2022 for year in range(2022, 2027)},
}
LAYOUTS = tuple(RULES)


def rule_of(layout: str) -> Rule:
    """The rule of a layout; UserError where there is none of that name."""
    if layout not in RULES:
        raise UserError(f"no official rule for layout {layout!r}: it must be one of {', '.join(LAYOUTS)}")
    return RULES[layout]


def official_numbers(layout: str, machines: Sections) -> OfficialNumbers:
    """The numbers of a whole submission (schema: docs/files.md, Score files).

    The official score is None where one of its parts is. Means leave such parts out, and `notes` names them.
    Raises UserError on an unknown layout.
    """
    rule = rule_of(layout)
    numbers = {name: {s: rule.numbers(clips) for s, clips in own.items()} for name, own in machines.items()}
    extra = {name: _over_ids(numbers[name], own) if layout == "dcase2020" else {} for name, own in machines.items()}
    sections = [section for own in numbers.values() for section in own.values()]
    means = _means_over_types(numbers, extra) if layout == "dcase2020" else _means(sections)
    return OfficialNumbers(
        layout=layout,
        official_score=_official_score(rule, sections),
        mean=dict(means["mean"]),
        harmonic_mean=dict(means["harmonic_mean"]),
        notes=_notes(layout, machines),
        machines={
            name: OfficialMachine.model_validate({**extra[name], **_means([*own.values()]), "sections": own})
            for name, own in numbers.items()
        },
    )


def over_runs(layout: str, machines: Iterable[OfficialMachine]) -> tuple[float | None, dict[str, float | None]]:
    """Official score and harmonic means over all sections of machines that several runs may have scored."""
    sections = [section for machine in machines for section in machine.sections.values()]
    means = {name: known(value) for name, value in _means(sections)["harmonic_mean"].items()}
    return known(_official_score(rule_of(layout), sections)), means


def _official_score(rule: Rule, sections: Iterable[Mapping[str, float | None]]) -> float:
    parts = [section[name] for section in sections for name in rule.official]
    return harmonic_mean(parts) if all(known(part) is not None for part in parts) else math.nan


def _over_ids(own: Mapping[str, Numbers], clips: Mapping[str, SectionClips]) -> Numbers:
    """2020: the metrics of a machine type, as in report.json."""
    label = np.concatenate([section.label for section in clips.values()])
    score = np.concatenate([section.score for section in clips.values()])
    return {
        **{metric.mean: arithmetic_mean(n[metric.key] for n in own.values()) for metric in METRICS},
        **{metric.lowest: lowest(n[metric.key] for n in own.values()) for metric in METRICS if metric.with_lowest},
        **{metric.pooled: metric.of(label, score) for metric in METRICS},
    }


def _means(sections: Sequence[Mapping[str, float | None]]) -> dict[str, Numbers]:
    """Both means over sections of every number, and of the two domains' numbers together."""
    columns = {name: [section.get(name) for section in sections] for name in sections[0]}
    for name in [name.removesuffix("_source") for name in columns if name.endswith("_source")]:
        columns[of_domains(name)] = columns[of_domain(name, SOURCE)] + columns[of_domain(name, TARGET)]
    return {
        "mean": {name: arithmetic_mean(values) for name, values in columns.items()},
        "harmonic_mean": {name: harmonic_mean(values) for name, values in columns.items()},
    }


def _means_over_types(numbers: Mapping[str, Mapping[str, Numbers]], extra: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """2020: types count alike, however many IDs they have."""
    types = [_means([*own.values()])["mean"] for own in numbers.values()]
    others = [key for key in next(iter(extra.values())) if key not in {metric.mean for metric in METRICS}]
    flat = {key: arithmetic_mean(own[key] for own in extra.values()) for key in others}
    return {
        "mean": {key: arithmetic_mean(own[key] for own in types) for key in types[0]} | flat,
        "harmonic_mean": {key: harmonic_mean(own[key] for own in types) for key in types[0]},
    }


def _notes(layout: str, machines: Sections) -> list[str]:
    """What is missing, one sentence a section, and one on all sections without decisions."""
    named = [(f"{machine} {section}", clips) for machine, own in machines.items() for section, clips in own.items()]
    lacks = {name: _lacks(layout, clips) for name, clips in named}
    missing = [
        f"{name}: no {', no '.join(kinds)}; AUCs that need them are left out" for name, kinds in lacks.items() if kinds
    ]
    undecided = [name for name, clips in named if (clips.decision == NO_DECISION).any()]
    if not undecided:
        return missing
    which = "any section" if len(undecided) == len(named) else ", ".join(undecided)
    return [*missing, f"no decisions for {which}: precision, recall and F1 are left out there"]


def _lacks(layout: str, clips: SectionClips) -> list[str]:
    """The kinds of clips that the section's ROCs need and do not have."""
    normal, anomalous = clips.label == NORMAL, clips.label == ANOMALY
    by_domain = {f"{d} normal clips": normal & (clips.domain == d) for d in DOMAINS}
    needed = {"normal clips": normal} if layout == "dcase2020" else by_domain
    if layout == "dcase2021":
        needed |= {f"{d} anomalous clips": anomalous & (clips.domain == d) for d in DOMAINS}
    else:
        needed |= {"anomalous clips": anomalous}
    return [kind for kind, there in needed.items() if not there.any()]


def official_of(
    layout: str, clips: ClipScores, scorer: str, decision: np.ndarray | None = None
) -> OfficialNumbers | None:
    """The year's numbers of a scorer; None where the layout has no rule, or no labelled clip fits it."""
    if layout not in LAYOUTS:
        return None
    domain = np.array(clips.domain, dtype=object)
    known = clips.known & ((layout == "dcase2020") | np.isin(domain, DOMAINS))
    if not known.any():
        return None
    decided = np.full(len(clips), NO_DECISION) if decision is None else decision
    machines: dict[str, dict[str, SectionClips]] = {}
    for machine_type, ids in clips.groups.items():
        for machine_id, rows in ids.items():
            own = rows[known[rows]]
            if len(own):
                section = SectionClips(clips.label[own], clips.scores[scorer][own], domain[own], decided[own])
                machines.setdefault(machine_type, {})[machine_id] = section
    return official_numbers(layout, machines)
