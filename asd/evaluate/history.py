"""The evaluations in a run's folder: which are scored, which checkpoint is the best, what to show."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from asd.dcase.headline import counts_ids
from asd.evaluate.store import EMBEDDINGS_FILE, EVALUATION_FILE, read_evaluation
from asd.metrics import AUC, PAUC
from asd.report import REPORT_FILE, percent, print_report, read_report
from asd.run_folder import checkpoint
from asd.run_folder.paths import RunFolder

log = logging.getLogger(__name__)

Selection = Literal["clean", "oracle", "last"]


def evaluated_steps(folder: RunFolder) -> list[int]:
    """Steps that were embedded, ascending."""
    steps = checkpoint.all_steps(folder.evaluations)  # of folders by this very name: no copies of somebody's
    return [step for step in steps if (folder.evaluation(step) / EVALUATION_FILE).is_file()]


def is_scored(folder: RunFolder, step: int) -> bool:
    """Whether a step has its report."""
    return (folder.evaluation(step) / REPORT_FILE).exists()


def unscored_steps(folder: RunFolder) -> list[int]:
    """Steps that were embedded but have no report yet."""
    return [step for step in evaluated_steps(folder) if not is_scored(folder, step) and _is_current(folder, step)]


def most_to_keep(folder: RunFolder, most: int) -> int:
    """How many unscored evaluations may stay: `most`, or fewer, but one, where the disk has no room for another one as
    large as the newest until the oldest are gone."""
    sizes: list[int] = []
    for step in unscored_steps(folder):
        with suppress(FileNotFoundError):  # it has just been scored
            sizes.append((folder.evaluation(step) / EMBEDDINGS_FILE).stat().st_size)
    room, kept = shutil.disk_usage(folder.root).free, len(sizes)
    for size in sizes[:-1]:
        if room >= sizes[-1]:
            break
        room, kept = room + size, kept - 1
    return most if kept == len(sizes) else min(most, kept)


def outdated_steps(folder: RunFolder) -> list[int]:
    """Steps that another version embedded, in a way that this one cannot score, and whose checkpoint is still there."""
    return [
        step
        for step in evaluated_steps(folder)
        if not (is_scored(folder, step) or _is_current(folder, step))
        and checkpoint.is_complete(checkpoint.step_path(folder.checkpoints, step))
    ]


def _is_current(folder: RunFolder, step: int) -> bool:
    return read_evaluation(folder.evaluation(step)) is not None


def waiting_steps(folder: RunFolder, due: Callable[[int], bool] | None) -> list[int]:
    """Steps without scores, ascending: embedded ones; or, where a watcher embeds, those that are due and saved."""
    if due is None:
        return unscored_steps(folder)
    return [step for step in checkpoint.all_steps(folder.checkpoints) if due(step) and not is_scored(folder, step)]


def best_step(folder: RunFolder, rule: Selection) -> int | None:
    """The step that the rule prefers among those evaluated so far; None before the first.

    clean: lowest clean loss on held-out normal clips. oracle: the best on the test clips (of the development half alone
    where both have labels) by the primary scorer and the year's rule: in 2020 the highest sum of AUC and pAUC over the
    machine types, from 2021 the highest official score. last: the newest.
    """
    if rule == "last":
        return next(reversed(evaluated_steps(folder)), None)
    value = _clean_value if rule == "clean" else _oracle_value
    rated = [(value(folder.evaluation(step)), -step) for step in evaluated_steps(folder)]
    known = [(v, s) for v, s in rated if v is not None]
    return -max(known)[1] if known else None


def _clean_value(folder: Path) -> float | None:
    evaluation = read_evaluation(folder)
    loss = evaluation.validation.loss if evaluation is not None and evaluation.validation is not None else None
    return None if loss is None else -loss


def _oracle_value(folder: Path) -> float | None:
    report = read_report(folder)
    return None if report is None else report.primary_headline.quality or 0.0


def mean_name(layout: str) -> str:
    """What the AUC of everything is, for a line of text."""
    return "mean" if counts_ids(layout) else "harmonic mean"


def headline(folder: Path) -> str:
    """The AUC of everything by every scorer, in one line."""
    report = read_report(folder)
    if report is None:
        return "no report"
    found = {name: report.headline(report.layout, name)[AUC.key] for name in report.scorers}
    known = [f"{name} {percent(auc)}" for name, auc in found.items() if auc is not None]
    if not known:
        return "no AUC without labelled normal and anomalous test clips"
    return f"{mean_name(report.layout)} AUC {', '.join(known)}"


def steps_in_words(steps: Sequence[int]) -> str:
    """Steps for a line of text; of many, the first ones and the last."""
    few = [*map(str, steps)] if len(steps) <= 6 else [*map(str, steps[:4]), "…", str(steps[-1])]
    return f"step{'s' * (len(steps) > 1)} {', '.join(few)}"


def show_best(folder: RunFolder, rule: Selection, told: Collection[str]) -> None:
    """Print the table of the checkpoint that the rule chooses, if one is scored, and what another rule would choose.

    told: warnings that were logged.
    """
    best = best_step(folder, rule)
    report = read_report(folder.evaluation(best)) if best is not None else None
    if best is None or report is None:
        return
    print_report(report, told)
    log.info(f"best checkpoint by the {rule} rule: {folder.evaluation(best) / 'report.md'}")
    _say_other_choice(folder, best, "oracle" if rule == "clean" else "clean")


def _say_other_choice(folder: RunFolder, best: int, rule: Selection) -> None:
    """What the other rule would have chosen: how much the choice on the test clips is worth."""
    step = best_step(folder, rule)
    report = read_report(folder.evaluation(step)) if step is not None else None
    if report is None:
        return
    where = "the same one" if step == best else f"step {step}"
    own = report.primary_headline
    said = f"{mean_name(report.layout)} AUC {percent(own[AUC.key])}, pAUC {percent(own[PAUC.key])}"
    log.info(f"the {rule} rule would choose {where}: {said}")
