"""What the runs of a sweep amount to: the year's numbers of every config and scorer, mean and spread over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asd.dcase.halves import DEVELOPMENT, EVALUATION
from asd.dcase.headline import Headline, Values, headline_of
from asd.dcase.rules import Summary, over_runs, rule_of
from asd.errors import UserError
from asd.evaluate.history import Selection, best_step
from asd.evaluate.store import read_report
from asd.run_folder.paths import RunFolder
from asd.sweep.jobs import DONE_FILE, Job

Part = dict[str, Any]  # layout, scorers and official numbers of one seed's runs, as in a report


def evaluation_of(job: Job, rule: Selection) -> Path | None:
    """The evaluation of the checkpoint that a rule chooses of a run."""
    folder = RunFolder(Path(job.config.run.dir))
    best = best_step(folder, rule)
    return None if best is None else folder.evaluation(best)


def summarise(jobs: Sequence[Job]) -> dict[str, Any]:
    """config → scorer → numbers by the year's rule (asd.dcase.headline) over the runs of a seed, then over seeds.

    `auc`, `pauc` of everything, `mauc`, `auc_pooled`, each with `_sd` and `_by_seed`; `auc_oracle` …: of the choice on
    the test clips, where the others go by each run's own rule. `development`, and `evaluation` where both halves have
    labels: titles, types and means, averaged over seeds. `official`: the official score and its parts.
    """
    table: dict[str, Any] = {}
    for name in dict.fromkeys(job.name for job in jobs):
        own = [job for job in jobs if job.name == name]
        seeds = [[j for j in own if j.seed == seed] for seed in dict.fromkeys(j.seed for j in own)]
        rule = own[0].config.evaluate.select
        chosen, oracle = ([_merge(jobs, choice) for jobs in seeds] for choice in (rule, "oracle"))
        scorers = chosen[0][DEVELOPMENT]["scorers"]
        table[name] = {scorer: _numbers(scorer, chosen, oracle) for scorer in scorers}
    return table


def of_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """scorer → the same numbers of a single report: of an ensemble, say, as a row of such a table."""
    parts = {DEVELOPMENT: report} | ({EVALUATION: report[EVALUATION]} if EVALUATION in report else {})
    halves = {half: {"layout": report["layout"], **_merged([part])} for half, part in parts.items()}
    return {scorer: _numbers(scorer, [halves], [halves]) for scorer in report["scorers"]}


def _numbers(scorer: str, chosen: Sequence[Mapping[str, Part]], oracle: Sequence[Mapping[str, Part]]) -> dict[str, Any]:
    parts = [halves[DEVELOPMENT] for halves in chosen]
    found = {half: [_headline(halves[half], scorer) for halves in chosen] for half in chosen[0]}
    best = [_headline(halves[DEVELOPMENT], scorer) for halves in oracle]
    types = [list(part["scorers"][scorer]["types"].values()) for part in parts]
    official = [part["official"].get(scorer) for part in parts]
    return {
        "seeds": len(chosen),
        "layout": parts[0]["layout"],
        **spread("auc", [own.auc for own in found[DEVELOPMENT]]),
        **spread("pauc", [own.pauc for own in found[DEVELOPMENT]]),
        **spread("auc_oracle", [own.auc for own in best]),
        **spread("pauc_oracle", [own.pauc for own in best]),
        **spread("mauc", [_mean(own["auc_min"] for own in seed) for seed in types]),
        **spread("auc_pooled", [_mean(own["auc_pooled"] for own in seed) for seed in types]),
        **{half: asdict(averaged(own)) for half, own in found.items()},
        "official": official_spread([[own] if own else [] for own in official]),
    }


def _headline(part: Part, scorer: str) -> Headline:
    return headline_of(part, part["layout"], scorer)


def _merge(jobs: Sequence[Job], rule: Selection) -> dict[str, Part]:
    """Half → the runs of one seed as if they were one: a run of each machine type makes one table."""
    reports = []
    for job in jobs:
        folder = evaluation_of(job, rule)
        report = None if folder is None else read_report(folder)
        if report is None:
            raise UserError(
                f"{job.config.run.dir} has no scores of its best checkpoint: remove its {DONE_FILE}, and the same "
                "command makes them"
            )
        reports.append(report)
    halves = {DEVELOPMENT: reports}
    if all(EVALUATION in report for report in reports):
        halves[EVALUATION] = [report[EVALUATION] for report in reports]
    return {half: {"layout": reports[0]["layout"], **_merged(own)} for half, own in halves.items()}


def _merged(parts: Sequence[Mapping[str, Any]]) -> Part:
    scorers: dict[str, Any] = {}
    official: dict[str, Any] = {}
    for part in parts:
        for name, numbers in part["scorers"].items():
            scorers.setdefault(name, {"types": {}})["types"].update(numbers["types"])
        for name, numbers in (part.get("official") or {}).items():
            if numbers is not None:
                official.setdefault(name, {"layout": numbers["layout"], "machines": {}})
                official[name]["machines"].update(numbers["machines"])
    return {"scorers": scorers, "official": official}


def averaged(found: Sequence[Headline]) -> Headline:
    """The mean over seeds of every number."""
    first = found[0]

    def rows(by_seed: Sequence[Mapping[str, Values]]) -> dict[str, Values]:
        columns = {name: zip(*(own[name] for own in by_seed), strict=True) for name in by_seed[0]}
        return {name: tuple(_mean(values) for values in own) for name, own in columns.items()}

    return Headline(
        first.titles,
        rows([own.types for own in found]),
        rows([own.means for own in found]),
        *(_mean(getattr(own, name) for own in found) for name in ("auc", "pauc", "official_score", "quality")),
    )


def official_spread(by_seed: Sequence[Sequence[Summary]]) -> dict[str, Any] | None:
    """Official score and what it is made of, mean ± spread over seeds; each seed's runs count as one submission.

    None where a seed has no official numbers, or its year no official score.
    """
    if not all(by_seed) or not (parts := rule_of(by_seed[0][0]["layout"]).official):
        return None
    merged = [over_runs(runs) for runs in by_seed]
    numbers: dict[str, Any] = {}
    for key in (*parts, "score"):
        numbers |= spread(key, [m["official_score"] if key == "score" else m["harmonic_mean"][key] for m in merged])
    return numbers


def spread(key: str, by_seed: Sequence[float | None]) -> dict[str, Any]:
    """`key`: the mean over seeds, `key_sd`: their standard deviation, `key_by_seed`; None where there is none."""
    known = [value for value in by_seed if value is not None]
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return {f"{key}_by_seed": list(by_seed), key: _mean(known), f"{key}_sd": deviation}


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
