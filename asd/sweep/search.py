"""`python -m asd.sweep --search`: which settings do best on held-out normal clips, by optuna.

Trials are chosen by a tree of Parzen estimators (TPE) and given up where they are below the median of the others at the
same step. The study is a file in --out: the same command goes on with it, and several may work on it at once.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from asd.config.load import load_config
from asd.errors import UserError
from asd.files.atomic import write_whole
from asd.sweep.engines import Engine
from asd.sweep.jobs import job_of
from asd.sweep.objective import Objective, best, saturation, seen
from asd.sweep.queue import Outcome, Task, run_tasks
from asd.sweep.space import Space, read_space
from asd.text.markdown import escaped, markdown_table
from asd.text.shell import command
from asd.text.terminal import open_console

log = logging.getLogger(__name__)

JOURNAL, STUDY = "study.journal", "search"
FIRST_TRIALS = 5  # before any is given up
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


def search(args: argparse.Namespace, engine: Engine) -> None:
    """Try settings until there are --trials of them, and write the table of all."""
    space = read_space(args.search)
    _check(args, space)
    study = _open(args.out, args.objective, args.seeds[0])
    left = args.trials - sum(_counts(trial) for trial in study.get_trials(deepcopy=False))
    try:
        trials = (_trial(study, space, args) for _ in range(left))
        run_tasks((trial for trial in trials if trial is not None), engine, engine.slots, args.keep_going)
    finally:
        _show(study, args)


def _check(args: argparse.Namespace, space: Space) -> None:
    if len(args.config) > 1 or len(args.seeds) > 1 or args.by_type or args.former or args.then or args.ensembles:
        raise UserError(
            "--search takes one --config and one of --seeds, and no --by-type, --from, --then or --ensembles"
        )
    for words in space.ends():
        config = load_config(args.config[0], [*args.overrides, *words])
    if config.data.val_fraction == 0 or not config.task.trains:
        raise UserError(f"{args.config[0]}: a search goes by held-out normal clips: set data.val_fraction above 0")
    if args.objective == "loss" and any(key.split(".")[0] in ("loss", "mixup", "task") for key in space.root):
        log.warning("losses of other loss, mixup or task settings do not compare: --objective accuracy does")


def _open(out: Path, objective: Objective, seed: int) -> optuna.Study:
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=STUDY,
        storage=JournalStorage(JournalFileBackend(str(out / JOURNAL))),
        direction="maximize" if objective == "accuracy" else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS),
        load_if_exists=True,
    )
    former = study.user_attrs.get("objective", objective)
    if former != objective:
        raise UserError(f"{out} is a search by {former}: name that as --objective, or another --out")
    study.set_user_attr("objective", objective)
    drawn = len(study.get_trials(deepcopy=False))  # who goes on with a search must not draw its first values again
    study.sampler = optuna.samplers.TPESampler(seed=_seed(seed, drawn), multivariate=True)
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        if _is_lost(trial):
            _put_back(study, trial.number, trial.params)
    return study


def _seed(seed: int, drawn: int) -> int:
    return int(np.random.SeedSequence([seed, drawn]).generate_state(1)[0])


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial needs no other one in its place: it has ended, or somebody works on it."""
    return trial.state in (*DONE, TrialState.RUNNING) or bool(trial.user_attrs.get("failed"))


def _is_lost(trial: FrozenTrial) -> bool:
    """Whether the process that worked on a trial was on this machine, and is gone."""
    host, pid = trial.user_attrs.get("worker", ("", 0))
    return host == socket.gethostname() and not psutil.pid_exists(pid)


def _put_back(study: optuna.Study, number: int, params: dict[str, Any]) -> None:
    """The values are to be taken up again by another trial: the run goes on from its newest checkpoint."""
    study.tell(number, state=TrialState.FAIL)
    study.enqueue_trial(params)


def _trial(study: optuna.Study, space: Space, args: argparse.Namespace) -> Task | None:
    """The next trial, whose values are drawn by what the others have come to; None where its run is under way already,
    as may be where there are few values."""
    trial = study.ask()
    trial.set_user_attr("worker", (socket.gethostname(), os.getpid()))
    words = space.suggest(trial)
    job = job_of(args.config[0], args.seeds[0], None, [*args.overrides, *words], args.out)
    log.info(f"trial {trial.number}: {' '.join(words)}")
    under_way = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    if same := [other.number for other in under_way if other.user_attrs.get("run") == job.folder.name]:
        study.tell(trial, state=TrialState.FAIL)
        log.info(f"trial {trial.number} left out: trial {same[0]}, which is under way, has the same values")
        return None
    trial.set_user_attr("run", job.folder.name)
    is_surplus = partial(_is_below_the_others, trial, job.folder, args.objective)
    return Task(job, is_surplus, partial(_tell, trial, job.folder, args.objective))


def _tell(trial: optuna.Trial, run: Path, objective: Objective, outcome: Outcome) -> None:
    study, value = trial.study, best(run, objective)
    if outcome == "stopped":
        _put_back(study, trial.number, trial.params)
    elif outcome == "failed" or (outcome == "done" and value is None):
        trial.set_user_attr("failed", True)
        study.tell(trial, state=TrialState.FAIL)
    elif outcome == "surplus":
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, value)
    log.info(f"trial {trial.number} {outcome}" + (f": {objective} {value:.4g}" if value is not None else ""))


def _is_below_the_others(trial: optuna.Trial, run: Path, objective: Objective) -> bool:
    """Whether a run under way is to be given up, by its evaluations so far."""
    told = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    for step, value in seen(run, objective).items():
        if step not in told:
            trial.report(value, step)
    return trial.should_prune()


def _show(study: optuna.Study, args: argparse.Namespace) -> None:
    """All trials as a table, best first; the command that tells of the best one."""
    trials = [trial for trial in study.get_trials() if trial.state in DONE]
    trials.sort(key=lambda trial: (trial.state != TrialState.COMPLETE, _rank(trial, study)))
    runs = [args.out / args.config[0].stem / trial.user_attrs["run"] for trial in trials]
    names = sorted({name for trial in trials for name in trial.params})
    rows = [
        [
            str(trial.number),
            f"{_value(trial):.4g}" + (" (given up)" if trial.state == TrialState.PRUNED else ""),
            *(escaped(f"{trial.params[name]:.4g}" if isinstance(trial.params[name], float) else str(trial.params[name]))
              for name in names),
            escaped(run.name),
        ]
        for trial, run in zip(trials, runs, strict=True)
    ]  # fmt: skip
    table = markdown_table(["trial", f"held-out {args.objective}", *map(escaped, names), "run"], rows)
    warning = saturation(runs)
    write_whole(args.out / "search.md", f"{table}\n" + (f"\n{warning}\n" if warning else ""))
    tree = [{"number": t.number, "state": t.state.name.lower(), "value": _value(t), **t.params} for t in trials]
    write_whole(args.out / "search.json", json.dumps(tree, indent=1))
    open_console().print(table)
    if warning:
        log.warning(warning)
    if trials and trials[0].state == TrialState.COMPLETE:
        log.info(f"best: {command('python', 'eval.py', 'score', '--run', runs[0], '--checkpoint', 'best')}")


def _value(trial: FrozenTrial) -> float:
    """Of a trial that was given up, the last that was seen of it."""
    if trial.value is not None:
        return trial.value
    return trial.intermediate_values[max(trial.intermediate_values)]


def _rank(trial: FrozenTrial, study: optuna.Study) -> float:
    value = _value(trial)
    return -value if study.direction == optuna.study.StudyDirection.MAXIMIZE else value
