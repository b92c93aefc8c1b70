"""`eval.py score`: the same embedding and scoring as in training, for any checkpoint of a run."""

from __future__ import annotations

from pathlib import Path

from asd.commands.open_run import CheckpointEmbedder, Run, choose_step
from asd.dcase import write_submission
from asd.dcase.rules import LAYOUTS
from asd.distributed.start import start_ranks
from asd.evaluate.scoring import score_folder
from asd.evaluate.store import EVALUATION_FILE, check_foreign
from asd.metrics import read_scores
from asd.report import DECISIONS_FILE, SCORES_FILE, Report, print_report


def score_checkpoint(run: Run, wanted: str, out: Path | None) -> None:
    """Embed with all ranks, score on rank 0, print the table."""
    step = choose_step(run, wanted)
    target = out or run.folder.root / "scores" / f"step_{step:08d}"
    if out is not None:
        check_foreign(out, EVALUATION_FILE)
    with start_ranks(run.config.distributed.precision, run.config.distributed.timeout_s) as ranks:
        with CheckpointEmbedder(run.at(step), ranks) as embedder:
            embedder.embed(step, target)
        report = ranks.run_on_main(lambda: score_folder(target, tsne=True, shards=embedder.setup.data.manifest.root))
        if ranks.is_main:
            print_report(report)
            print(f"{target / 'report.md'}, report.json, scores.csv, decisions.csv, figures/{_submit(target, report)}")


def _submit(folder: Path, report: Report) -> str:
    """Score files in the challenge's format, where the set's layout has one; the words that name them."""
    if report.layout not in LAYOUTS or not report.test.clips:
        return ""
    clips, decided = read_scores(folder / SCORES_FILE), read_scores(folder / DECISIONS_FILE)
    decision = decided.scores["decision"].astype(int)
    whole = None if (decision < 0).any() else decision  # a submission decides on every clip, or on none
    write_submission(folder / "submission", report.layout, clips, report.primary, whole)
    return f", submission/ (official score files of {report.primary})"
