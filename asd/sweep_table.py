"""The table of a sweep: every config's numbers over machine types, then mean ± spread over seeds."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from asd.errors import UserError
from asd.evaluation_folder import read_report
from asd.evaluations import Selection, best_step
from asd.markdown import escaped, markdown_table
from asd.metrics.official import Summary, over_runs, rule_of
from asd.report import percent
from asd.run_folder import RunFolder
from asd.sweep_jobs import Job
from asd.terminal import plain

TypeNumbers = dict[str, dict[str, float | None]]  # machine type → auc_mean, pauc_mean …
# What the table calls a number → what the report of an evaluation calls it, per machine type.
NUMBERS = {"auc": "auc_mean", "pauc": "pauc_mean", "mauc": "auc_min", "auc_pooled": "auc_pooled"}


def report_of(job: Job, rule: Selection) -> dict[str, Any] | None:
    """The report of the checkpoint that a rule chooses of a run; None where none is scored."""
    folder = evaluation_of(job, rule)
    return None if folder is None else read_report(folder)


def evaluation_of(job: Job, rule: Selection) -> Path | None:
    """The evaluation of the checkpoint that a rule chooses of a run."""
    folder = RunFolder(Path(job.config.run.dir))
    best = best_step(folder, rule)
    return None if best is None else folder.evaluation(best)


def summarise(jobs: Sequence[Job]) -> dict[str, Any]:
    """config → scorer → {auc, auc_sd, auc_by_seed, pauc …, auc_oracle …, seeds, types}: means over types, then seeds.

    Checkpoints are chosen by each run's own rule; the numbers called oracle are those of the choice on the test clips.
    `official`, where the year has an official score: this and its parts (auc_source …), over the sections of all types.
    """
    table: dict[str, Any] = {}
    for name in dict.fromkeys(job.name for job in jobs):
        own = [job for job in jobs if job.name == name]
        seeds = [[j for j in own if j.seed == seed] for seed in dict.fromkeys(j.seed for j in own)]
        rule = own[0].config.evaluate.select
        chosen, oracle = ([_merge(jobs, choice) for jobs in seeds] for choice in (rule, "oracle"))
        table[name] = {
            scorer: _spread([types[scorer] for types in chosen])
            | _oracle([types[scorer] for types in oracle])
            | {"official": _official(seeds, rule, scorer)}
            for scorer in chosen[0]
        }
    return table


def _oracle(by_seed: Sequence[TypeNumbers]) -> dict[str, float | None]:
    found = _spread(by_seed)
    return {f"{key}_oracle{sd}": found[f"{key}{sd}"] for key in ("auc", "pauc") for sd in ("", "_sd")}


def _merge(jobs: Sequence[Job], rule: Selection) -> dict[str, TypeNumbers]:
    """scorer → machine type → numbers, over the runs of one seed."""
    merged: dict[str, TypeNumbers] = {}
    for job in jobs:
        report = report_of(job, rule)
        if report is None:
            raise UserError(f"{job.config.run.dir} holds no scored checkpoint: remove the folder and run again")
        for scorer, numbers in report["scorers"].items():
            merged.setdefault(scorer, {}).update(numbers["types"])
    return merged


def _official(seeds: Sequence[Sequence[Job]], rule: Selection, scorer: str) -> dict[str, Any] | None:
    reports = [[report_of(job, rule) or {} for job in jobs] for jobs in seeds]
    found = [[(report.get("official") or {}).get(scorer) for report in own] for own in reports]
    return official_spread([[one for one in own if one is not None] for own in found])


def official_spread(by_seed: Sequence[Sequence[Summary]]) -> dict[str, Any] | None:
    """Official score and what it is made of, mean ± spread over seeds; each seed's runs count as one submission.

    None where a seed has no official numbers, or its year no official score.
    """
    if not all(by_seed) or not (parts := rule_of(by_seed[0][0]["layout"]).official):
        return None
    merged = [over_runs(runs) for runs in by_seed]
    numbers: dict[str, Any] = {}
    for key in (*parts, "score"):
        values = [m["official_score"] if key == "score" else m["harmonic_mean"][key] for m in merged]
        known = [value for value in values if value is not None]
        numbers[f"{key}_by_seed"] = values
        numbers[key] = statistics.fmean(known) if known else None
        numbers[f"{key}_sd"] = statistics.stdev(known) if len(known) > 1 else None
    return numbers


def _spread(by_seed: Sequence[TypeNumbers]) -> dict[str, Any]:
    numbers: dict[str, Any] = {"seeds": len(by_seed)}
    for key, reported in NUMBERS.items():
        means = [_mean(types, reported) for types in by_seed]
        known = [m for m in means if m is not None]
        numbers[f"{key}_by_seed"] = means
        numbers[key] = statistics.fmean(known) if known else None
        numbers[f"{key}_sd"] = statistics.stdev(known) if len(known) > 1 else None
    numbers["types"] = {t: _mean({str(i): s[t] for i, s in enumerate(by_seed)}, "auc_mean") for t in by_seed[0]}
    return numbers


def _mean(types: TypeNumbers, key: str) -> float | None:
    known = [v for numbers in types.values() if (v := numbers[key]) is not None]
    return statistics.fmean(known) if known else None


def _rows(table: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Types last: the terminal leaves them out."""
    types, official = _types(table), _official_columns(next(iter(next(iter(table.values())).values())))
    head = ["config", "scorer", "seeds", "AUC", "pAUC", "AUC, oracle", *official.values(), *types]
    rows = [
        [
            name,
            scorer,
            str(n["seeds"]),
            *(_pair(n, key) for key in ("auc", "pauc", "auc_oracle")),
            *("–" if n["official"] is None else _pair(n["official"], key) for key in official),
            *(percent(n["types"].get(t)) for t in types),
        ]
        for name, scorers in table.items()
        for scorer, n in scorers.items()
    ]
    return head, rows


def _official_columns(numbers: dict[str, Any]) -> dict[str, str]:
    """Key → title of the year's own numbers, where it has an official score."""
    if numbers["official"] is None:
        return {}
    return {
        key: f"official {key.replace('_', ' ')}" for key in numbers["official"] if not key.endswith(("_sd", "_by_seed"))
    }


def _pair(numbers: dict[str, Any], key: str) -> str:
    spread = numbers[f"{key}_sd"]
    return percent(numbers[key]) + ("" if spread is None else f" ± {percent(spread)}")


def markdown(table: dict[str, Any]) -> str:
    """The table as Markdown."""
    head, rows = _rows(table)
    shown = [[escaped(config), escaped(scorer), *numbers] for config, scorer, *numbers in rows]
    note = (
        "AUC and pAUC (FPR up to 0.1) in percent: per machine ID, mean over IDs, then types; ± over seeds. "
        "Oracle: the checkpoint was chosen on the test clips. Official: the year's rule, harmonic means over sections."
    )
    return "\n".join([markdown_table([*map(escaped, head)], shown), "", note, ""])


def console_table(table: dict[str, Any]) -> Table:
    """The same for 80 columns: a line for each config, its scorers below; without what only a wide page can show."""
    head, rows = _rows(table)
    shown = [at for at, title in enumerate(head[: len(head) - len(_types(table))]) if _is_for_a_terminal(title)]
    narrow = Table(
        box=box.SIMPLE_HEAD, title="AUC and pAUC in percent; oracle: the checkpoint was chosen on the test clips"
    )
    narrow.add_column("config, scorer", overflow="fold")
    for at in shown:
        narrow.add_column(head[at].removesuffix(" score"), justify="right", no_wrap=True)
    for name, scorers in itertools.groupby(rows, key=lambda row: row[0]):
        narrow.add_row(plain(name, "bold"))
        for row in scorers:
            narrow.add_row(f"  {row[1]}", *(row[at] for at in shown))
    return narrow


def _is_for_a_terminal(title: str) -> bool:
    return title == "official score" or not title.startswith(("official ", "config", "scorer", "seeds"))


def _types(table: dict[str, Any]) -> list[str]:
    return list(next(iter(next(iter(table.values())).values()))["types"])
