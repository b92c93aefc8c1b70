"""`eval.py ensemble`: several runs, or the last evaluations of one, as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asd.commands.open_run import load_run
from asd.errors import UserError
from asd.evaluate.ensemble import Method, open_member, write_ensemble
from asd.evaluate.history import best_step, evaluated_steps, is_scored
from asd.evaluate.store import check_foreign
from asd.files.paths import check_over, check_within
from asd.metrics.thresholds import GammaConfig
from asd.report import REPORT_FILE, print_report, read_report


def ensemble_command(
    runs: Sequence[Path],
    out: Path,
    method: Method,
    k: int,
    scorer: str | None,
    percent: float,
    last: int | None = None,
) -> None:
    """Combine runs (their best checkpoints, or so many of the last ones) or evaluation folders; print the table."""
    if not 0 < percent < 100:
        raise UserError(f"--percent {percent:g}: give a number between 0 and 100")
    if k < 1:
        raise UserError(f"--k {k}: give 1 or more")
    if last is not None and last < 1:
        raise UserError(f"--last {last}: give 1 or more")
    check_within("--out", out, runs)
    check_over("--out", out, runs)
    check_foreign(out, REPORT_FILE)
    if (former := read_report(out)) is not None and former.ensemble is None:
        raise UserError(f"--out {out} holds a report of something else: name a new folder")
    if last is None:
        members = [open_member(evaluation_of(run), str(run), scorer) for run in dict.fromkeys(runs)]
    else:  # whatever rule a run chooses its best checkpoint by, these were not chosen
        folders = [folder for run in dict.fromkeys(runs) for folder in last_evaluations(run, last)]
        members = [replace(open_member(folder, str(folder), scorer), oracle=False) for folder in folders]
    if len(members) < 2:
        raise UserError("an ensemble takes two runs or more, or --last 2 or more of one")
    if len(layouts := {member.layout for member in members}) > 1:
        raise UserError(f"the runs are of different layouts: {', '.join(sorted(layouts))}")
    report = write_ensemble(members, out, method, k, GammaConfig(percent=percent))
    print_report(report)
    assert report.ensemble is not None
    print(json.dumps(report.ensemble.runs))
    print(f"{out / 'report.md'}, report.json, scores.csv")


def evaluation_of(path: Path) -> Path:
    """The scored evaluation of a run's best checkpoint, or the folder itself where it is one."""
    if (path / REPORT_FILE).is_file():
        return path
    run = load_run(path)
    step = best_step(run.folder, run.config.evaluate.select)
    if step is None:
        raise UserError(f"{path} holds no scored checkpoint: train it, or score it with `python eval.py score`")
    return run.folder.evaluation(step)


def last_evaluations(path: Path, count: int) -> list[Path]:
    """The folders of so many of a run's newest scored evaluations, in order; their checkpoints may be gone."""
    folder = load_run(path).folder
    scored = [step for step in evaluated_steps(folder) if is_scored(folder, step)]
    if len(scored) < count:
        raise UserError(
            f"{path} holds {len(scored)} scored evaluation{'s' * (len(scored) != 1)}, fewer than --last {count}: name "
            "fewer, or train with a smaller evaluate.every_epochs"
        )
    return [folder.evaluation(step) for step in scored[-count:]]
