"""Evaluation after training: the same embedding and scoring as in training, for any checkpoint of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from asd import checkpoint
from asd.config import RunConfig, load_config
from asd.data.loader import Loader
from asd.distributed import Ranks, start_ranks
from asd.ensemble import Method, ensemble_runs
from asd.errors import UserError
from asd.evaluation_folder import EMBEDDINGS_FILE, EVALUATION_FILE, read_report
from asd.evaluations import best_step
from asd.evaluator import Evaluator
from asd.files import refuse_over, refuse_within
from asd.identity import EVALUATION, RESUMING, differences, in_words
from asd.metrics import read_scores
from asd.metrics.official import LAYOUTS
from asd.report import DECISIONS_FILE, REPORT_FILE, SCORES_FILE, print_report
from asd.run_folder import RunFolder, check_identity
from asd.score_files import write_submission
from asd.scoring import score_folder
from asd.system import build_task, network_signature, open_data, saved_config


@dataclass(frozen=True)
class Run:
    """A finished or running run, opened for evaluation."""

    folder: RunFolder
    config: RunConfig  # of the run's newest start, or of a checkpoint; the user's words over it
    words: Sequence[str] = ()

    def at(self, step: int) -> Run:
        """The same with the config that a checkpoint was trained with."""
        path = checkpoint.step_path(self.folder.checkpoints, step) / "config.yaml"
        return replace(self, config=_evaluated(path, self.words))


def load_run(root: Path, overrides: Sequence[str] = ()) -> Run:
    """Open a run folder; UserError where it is none, or where words change more than its evaluation."""
    folder = RunFolder(root)
    if (config := config_file(folder)) is None:
        raise UserError(f"{root} is no run folder: it holds no config.yaml")
    return Run(folder, _evaluated(config, overrides), overrides)


def config_file(folder: RunFolder) -> Path | None:
    """The config of a run, or where that is lost the one of its newest complete checkpoint; None where neither is."""
    if folder.config.is_file():
        return folder.config
    kept = (checkpoint.step_path(folder.checkpoints, step) for step in checkpoint.all_steps(folder.checkpoints)[::-1])
    return next((path / "config.yaml" for path in kept if checkpoint.is_complete(path)), None)


def _evaluated(path: Path, words: Sequence[str]) -> RunConfig:
    """A config of a run with words over it, which may change how it is evaluated, and nothing that it has learnt."""
    former = saved_config(path)
    config = load_config(path, words) if words else former
    if found := differences(former, config, EVALUATION):
        raise UserError(
            f"{path} has another {in_words(found)}, which no word of eval.py changes: name evaluate.…, data.shards, "
            "data.threads or train.precision alone"
        )
    return config


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
        with Embedder(run.at(step), ranks) as embedder:
            embedder.embed(step, target)
        report = ranks.on_main(lambda: score_folder(target, tsne=True, shards=embedder.data.manifest.root))
        if ranks.is_main:
            print_report(report)
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
    refuse_within("--out", out, runs)
    refuse_over("--out", out, runs)
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
    left = {EMBEDDINGS_FILE}  # by a command that was killed
    if out.is_dir() and not (out / ours).is_file() and any(path.name not in left for path in out.iterdir()):
        raise UserError(f"--out {out} holds other files: name a new or empty folder")


class Embedder:
    """Embeds checkpoints of a run: its set, network and reader threads are opened once."""

    def __init__(self, run: Run, ranks: Ranks, test: bool = True) -> None:
        config = run.config
        self.run, self.ranks = run, ranks
        self.data = ranks.agree(lambda: open_data(config))
        manifest, splits = self.data.manifest, self.data.splits
        self.task = build_task(config, manifest).to(ranks.device)
        self._own = {"fingerprint": manifest.fingerprint, "network": network_signature(self.task)}
        ranks.agree(lambda: run.folder.check(self._own))
        self._loader = Loader(manifest, ranks.device, config.data.threads, config.data.prefetch)
        few = splits if test else replace(splits, test=splits.test[:0])
        self._evaluator = Evaluator(config.evaluate, few, self._loader, ranks, run.folder, config.train.seed)

    def embed(self, step: int, target: Path, show_progress: bool = True) -> None:
        """Embed the clips that scorers and thresholds go by, and the test clips, into target.

        Raises UserError where the checkpoint is damaged, another network's, or gone.
        """
        meta = self.ranks.agree(lambda: self._load(checkpoint.step_path(self.run.folder.checkpoints, step)))
        self._evaluator.embed(self.task, step, meta["epoch"], target, show_progress and self.ranks.is_main)

    def _load(self, folder: Path) -> dict[str, Any]:
        weights, meta = checkpoint.load_network(folder)
        if found := differences(saved_config(folder / "config.yaml"), self.run.config, RESUMING):
            raise UserError(f"{folder} belongs to a run with another {in_words(found)}")
        check_identity(folder / "meta.json", self._own)
        try:
            self.task.load_state_dict(weights)
        except RuntimeError:
            raise UserError(f"{folder} holds other weights than its meta.json says") from None
        return meta

    def close(self) -> None:
        self._loader.close()

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
