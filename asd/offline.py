"""Evaluation after training: the same embedding and scoring as in training, for any checkpoint of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from torch import nn

from asd import checkpoint
from asd.config import RunConfig, load_config
from asd.data.loader import Loader
from asd.data.splits import make_splits
from asd.distributed import Ranks, start_ranks
from asd.ensemble import Method, ensemble_runs
from asd.errors import UserError
from asd.evaluator import Evaluator, best_step
from asd.metrics import read_scores
from asd.metrics.official import LAYOUTS
from asd.report import console_table
from asd.run_folder import RunFolder, check_identity
from asd.score_files import write_submission
from asd.scoring import DECISIONS_FILE, EVALUATION_FILE, REPORT_FILE, SCORES_FILE, read_report, score_folder
from asd.system import build_task, network_signature, open_shards


@dataclass(frozen=True)
class Run:
    """A finished or running run, opened for evaluation."""

    folder: RunFolder
    config: RunConfig


def load_run(root: Path, overrides: Sequence[str] = ()) -> Run:
    """Open a run folder; UserError where it is none."""
    folder = RunFolder(root)
    if not folder.config.is_file():
        raise UserError(f"{root} is no run folder: it holds no config.yaml")
    return Run(folder, load_config(folder.config, overrides))


def choose_step(run: Run, wanted: str) -> int:
    """The step that `best`, `last` or a number names; UserError where there is no such complete checkpoint."""
    steps = checkpoint.complete_steps(run.folder.checkpoints)
    if not steps:
        raise UserError(f"{run.folder.root} holds no complete checkpoint yet")
    if wanted == "last":
        return steps[-1]
    step = best_step(run.folder, run.config.evaluate.select) if wanted == "best" else _number(wanted)
    if step is None:
        raise UserError(f"{run.folder.root} holds no evaluation to choose the best checkpoint by: name last or a step")
    if step not in steps:
        raise UserError(f"checkpoint {wanted} (step {step}) is not there; kept steps: {', '.join(map(str, steps))}")
    return step


def _number(text: str) -> int:
    try:
        return int(text.removeprefix("step_"))
    except ValueError:
        raise UserError(f"--checkpoint {text}: name best, last or a step") from None


def score_checkpoint(run: Run, wanted: str, out: Path | None) -> None:
    """Embed with all ranks, score on rank 0, print the table."""
    step = choose_step(run, wanted)
    target = out or run.folder.root / "scores" / f"step_{step:08d}"
    if out is not None:
        _refuse_foreign(out, EVALUATION_FILE)
    with start_ranks(run.config.train.precision, run.config.train.timeout_s) as ranks:
        embed_checkpoint(run, step, target, ranks)
        report = ranks.on_main(lambda: score_folder(target, tsne=True))
        if ranks.is_main:
            Console().print(console_table(report))
            print(f"{target / 'report.md'}, report.json, scores.csv, decisions.csv, figures/{_submit(target, report)}")


def _submit(folder: Path, report: dict[str, Any]) -> str:
    """Score files in the challenge's format, where the set's layout has one; the words that name them."""
    if report["layout"] not in LAYOUTS or not report["test"]["clips"]:
        return ""
    clips, decided = read_scores(folder / SCORES_FILE), read_scores(folder / DECISIONS_FILE)
    decision = decided.scores["decision"].astype(int)
    write_submission(folder / "submission", report["layout"], clips, report["primary"], _whole(decision))
    return f", submission/ (official score files of {report['primary']})"


def _whole(decision: np.ndarray) -> np.ndarray | None:
    """Decisions of all clips, or none at all: a submission holds one for every clip."""
    return None if (decision < 0).any() else decision


def ensemble_command(
    runs: Sequence[Path], out: Path, method: Method, k: int, scorer: str | None, percent: float
) -> None:
    """Combine runs (their best checkpoints) or evaluation folders; print the table."""
    if not 0 < percent < 100:
        raise UserError(f"--percent {percent:g}: give a number between 0 and 100")
    if k < 1:
        raise UserError(f"--k {k}: give 1 or more")
    _refuse_foreign(out, REPORT_FILE)
    if "ensemble" not in (read_report(out) or {"ensemble": {}}):
        raise UserError(f"--out {out} holds a report of something else: name a new folder")
    ensemble_runs({str(run): evaluation_of(run) for run in runs}, out, method, k, scorer, percent)


def evaluation_of(path: Path) -> Path:
    """The scored evaluation of a run's best checkpoint, or the folder itself where it is one."""
    if (path / REPORT_FILE).is_file():
        return path
    run = load_run(path)
    step = best_step(run.folder, run.config.evaluate.select)
    if step is None:
        raise UserError(f"{path} holds no scored checkpoint: train it, or score it with `python eval.py score`")
    return run.folder.evaluation(step)


def _refuse_foreign(out: Path, ours: str) -> None:
    """Refuse, before any work, to write over what is no evaluation."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: name a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / ours).is_file():
        raise UserError(f"--out {out} holds other files: name a new or empty folder")


def embed_checkpoint(run: Run, step: int, target: Path, ranks: Ranks, test: bool = True) -> nn.Module:
    """Embed the clips that scorers and thresholds go by, and the test clips, into target; returns the network."""
    config = run.config
    manifest = ranks.agree(lambda: open_shards(config.data))
    folder = checkpoint.step_path(run.folder.checkpoints, step)
    task = build_task(config, manifest).to(ranks.device)
    same = {"fingerprint": manifest.fingerprint, "network": network_signature(task)}
    ranks.agree(lambda: check_identity(folder / "meta.json", same))
    payload = ranks.agree(lambda: checkpoint.load(folder, ranks.device))
    task.load_state_dict(payload.model)
    loader = Loader(manifest, ranks.device, config.data.threads, config.data.prefetch)
    splits = make_splits(manifest, config.train.seed, config.data.val_fraction)
    if not test:
        splits = replace(splits, test=splits.test[:0])
    evaluator = Evaluator(config.evaluate, splits, loader, ranks, run.folder, config.train.seed)
    try:
        evaluator.embed(task, step, payload.meta["epoch"], target, show_progress=ranks.is_main)
    finally:
        loader.close()
    return task
