"""The results of a sweep: the year's numbers of every config and scorer, mean and spread over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asd.dcase.halves import DEVELOPMENT, EVALUATION
from asd.dcase.headline import Headline, Values, headline
from asd.dcase.numbers import OfficialMachine
from asd.dcase.rules import over_runs, rule_of
from asd.errors import UserError
from asd.evaluate.history import Selection, best_step
from asd.metrics import METRICS
from asd.metrics.summary import TypeNumbers
from asd.report import Report, read_report
from asd.report.model import Half
from asd.run_folder.paths import RunFolder
from asd.sweep.jobs import DONE_FILE, Job


@dataclass(frozen=True)
class Spread:
    """A number of every seed, their mean and standard deviation; None where it is not known (of one seed: no sd)."""

    by_seed: tuple[float | None, ...]
    mean: float | None
    sd: float | None

    @classmethod
    def of(cls, by_seed: Iterable[float | None]) -> Spread:
        values = tuple(by_seed)
        known = [value for value in values if value is not None]
        return cls(values, _mean(known), statistics.stdev(known) if len(known) > 1 else None)


@dataclass(frozen=True)
class Row:
    """What a scorer reaches with a config.

    numbers: key of a metric → over everything, by the config's own choice of a checkpoint; `auc_oracle` …: by the
    choice on the test clips; `mauc`, `auc_pooled` …: by the 2020 rule. halves: `development`, and `evaluation` where
    both halves have labels. official: `score` and its parts; None where the year has no official score.
    """

    seeds: int
    layout: str
    numbers: dict[str, Spread]
    halves: dict[str, Headline]  # averaged over seeds
    official: dict[str, Spread] | None

    def as_tree(self) -> dict[str, Any]:
        """What report.json of a sweep holds of it: of each number `key`, `key_sd` and `key_by_seed`."""
        return {
            "seeds": self.seeds,
            "layout": self.layout,
            **_flat(self.numbers),
            **{half: own.model_dump(mode="json") for half, own in self.halves.items()},
            "official": None if self.official is None else _flat(self.official),
        }


def _flat(numbers: Mapping[str, Spread]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, own in numbers.items():
        tree |= {f"{key}_by_seed": list(own.by_seed), key: own.mean, f"{key}_sd": own.sd}
    return tree


Table = dict[str, dict[str, Row]]  # config → scorer → row


@dataclass(frozen=True)
class _Part:
    """One half's numbers of the runs of one seed, as if they were one run; both by scorer and machine type."""

    layout: str
    types: dict[str, dict[str, TypeNumbers]]
    machines: dict[str, dict[str, OfficialMachine]]

    def headline(self, scorer: str) -> Headline:
        return headline(self.layout, self.types[scorer], self.machines.get(scorer, {}))


def evaluation_of(job: Job, rule: Selection) -> Path | None:
    """The evaluation of the checkpoint that a rule chooses of a run."""
    folder = RunFolder(Path(job.config.run.dir))
    best = best_step(folder, rule)
    return None if best is None else folder.evaluation(best)


def summarise(jobs: Sequence[Job]) -> Table:
    """Every config and scorer by the year's rule (asd.dcase.headline), over the runs of a seed, then over seeds."""
    table: Table = {}
    for name in dict.fromkeys(job.name for job in jobs):
        own = [job for job in jobs if job.name == name]
        seeds = [[j for j in own if j.seed == seed] for seed in dict.fromkeys(j.seed for j in own)]
        rule = own[0].config.evaluate.select
        chosen, oracle = ([_merged(_reports(jobs, choice)) for jobs in seeds] for choice in (rule, "oracle"))
        table[name] = {scorer: _row(scorer, chosen, oracle) for scorer in chosen[0][DEVELOPMENT].types}
    return table


def of_reports(by_seed: Sequence[Report]) -> dict[str, Row]:
    """scorer → the same numbers of a report of each seed: of ensembles, say, as rows of such a table."""
    halves = [_merged([report]) for report in by_seed]
    return {scorer: _row(scorer, halves, halves) for scorer in by_seed[0].scorers}


def as_tree(table: Table) -> dict[str, Any]:
    """What report.json of a sweep holds (schema: docs/files.md)."""
    return {name: {scorer: row.as_tree() for scorer, row in scorers.items()} for name, scorers in table.items()}


def _row(scorer: str, chosen: Sequence[Mapping[str, _Part]], oracle: Sequence[Mapping[str, _Part]]) -> Row:
    parts = [halves[DEVELOPMENT] for halves in chosen]
    found = {half: [halves[half].headline(scorer) for halves in chosen] for half in chosen[0]}
    best = [halves[DEVELOPMENT].headline(scorer) for halves in oracle]
    types = [part.types[scorer].values() for part in parts]
    numbers = {metric.key: Spread.of(own[metric.key] for own in found[DEVELOPMENT]) for metric in METRICS}
    numbers |= {f"{metric.key}_oracle": Spread.of(own[metric.key] for own in best) for metric in METRICS}
    for m in METRICS:
        if m.with_lowest:
            numbers[m.mean_of_lowest] = Spread.of(_mean(own[m.lowest] for own in seed) for seed in types)
        numbers[m.pooled] = Spread.of(_mean(own[m.pooled] for own in seed) for seed in types)
    official = official_spread(parts[0].layout, [part.machines.get(scorer, {}) for part in parts])
    return Row(len(chosen), parts[0].layout, numbers, {half: averaged(own) for half, own in found.items()}, official)


def _reports(jobs: Sequence[Job], rule: Selection) -> list[Report]:
    reports = []
    for job in jobs:
        folder = evaluation_of(job, rule)
        report = None if folder is None else read_report(folder)
        if report is None:
            raise UserError(
                f"{job.config.run.dir} has no scores of its best checkpoint: remove its {DONE_FILE} "
                "and run the same command"
            )
        reports.append(report)
    return reports


def _merged(reports: Sequence[Report]) -> dict[str, _Part]:
    """Half → the runs of one seed as if they were one: a run of each machine type makes one table."""
    layout, others = reports[0].layout, [report.evaluation for report in reports if report.evaluation is not None]
    halves = {DEVELOPMENT: _merge(layout, reports)}
    return halves | {EVALUATION: _merge(layout, others)} if len(others) == len(reports) else halves


def _merge(layout: str, halves: Sequence[Half]) -> _Part:
    part = _Part(layout, {}, {})
    for half in halves:
        for scorer, numbers in half.scorers.items():
            part.types.setdefault(scorer, {}).update(numbers.types)
            if official := half.official.get(scorer):
                part.machines.setdefault(scorer, {}).update(official.machines)
    return part


def averaged(found: Sequence[Headline]) -> Headline:
    """The mean over seeds of every number."""

    def rows(by_seed: Sequence[Mapping[str, Values]]) -> dict[str, Values]:
        columns = {name: zip(*(own[name] for own in by_seed), strict=True) for name in by_seed[0]}
        return {name: tuple(_mean(values) for values in own) for name, own in columns.items()}

    overall: dict[str, Any] = {key: _mean(own[key] for own in found) for key in found[0].numbers}
    return Headline(
        **overall,
        titles=found[0].titles,
        types=rows([own.types for own in found]),
        means=rows([own.means for own in found]),
        official_score=_mean(own.official_score for own in found),
        quality=_mean(own.quality for own in found),
    )


def official_spread(layout: str, by_seed: Sequence[Mapping[str, OfficialMachine]]) -> dict[str, Spread] | None:
    """Official score and its parts, over seeds; the machine types of a seed count as one submission.

    None where a seed has no official numbers, or its year no official score.
    """
    if not all(by_seed) or not (parts := rule_of(layout).official):
        return None
    scores, means = zip(*(over_runs(layout, machines.values()) for machines in by_seed), strict=True)
    return {key: Spread.of(own[key] for own in means) for key in parts} | {"score": Spread.of(scores)}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
