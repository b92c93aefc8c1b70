"""From the embeddings of an evaluation to its report: fit the scorers, score the test clips, write and show.

Runs in a process of its own beside training (`python -m asd.scoring FOLDER`), or in `eval.py score`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import torch
from safetensors.torch import load_file

from asd import figures
from asd.checkpoint import save_tensors
from asd.data.manifest import Manifest, load_manifest
from asd.errors import UserError, run_main
from asd.loggers import TensorBoardLogger
from asd.report import ClipScores, build_report, markdown, scalars, write_report
from asd.scorers import Embedded, ScorerConfig, build_scorer, scorer_label

EMBEDDINGS_FILE = "embeddings.safetensors"
EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.json"


class Validation(pydantic.BaseModel, extra="forbid", frozen=True):
    """The clean numbers: held-out normal clips, no margin, no mixing, no smoothing."""

    loss: float
    accuracy: float
    clips: int


class Evaluation(pydantic.BaseModel, extra="forbid", frozen=True):
    """evaluation.json: what was embedded and how it is to be scored."""

    format: int = 1
    run: str
    step: int
    epoch: float
    checkpoint: str
    shards: str
    fingerprint: str
    select: str
    scorers: tuple[ScorerConfig, ...]
    validation: Validation | None
    fit_clips: int
    unreadable_clips: int
    embed_s: float


def write_embeddings(folder: Path, evaluation: Evaluation, fit: Embedded, test: Embedded) -> None:
    """Lay down everything that scoring needs; evaluation.json comes last and so marks the folder as ready."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (REPORT_FILE, EVALUATION_FILE):
        (folder / stale).unlink(missing_ok=True)
    save_tensors({**fit.to_tensors("fit"), **test.to_tensors("test")}, folder / EMBEDDINGS_FILE)
    partial = folder / (EVALUATION_FILE + ".partial")
    partial.write_text(evaluation.model_dump_json(indent=1))
    partial.rename(folder / EVALUATION_FILE)


def read_evaluation(folder: Path) -> Evaluation | None:
    """What was embedded there, None where the embedding did not finish."""
    try:
        return Evaluation.model_validate_json((folder / EVALUATION_FILE).read_bytes())
    except (FileNotFoundError, pydantic.ValidationError):
        return None


def read_report(folder: Path) -> dict[str, Any] | None:
    """report.json of a scored evaluation, None where there is none yet."""
    path = folder / REPORT_FILE
    return json.loads(path.read_text()) if path.exists() else None


def score_folder(folder: Path, tensorboard: Path | None = None, keep_embeddings: bool = False) -> dict[str, Any]:
    """Score an embedded evaluation; writes scores.csv, report.md, report.json and figures/*.png, returns the report."""
    evaluation = read_evaluation(folder)
    if evaluation is None:
        raise UserError(f"{folder} holds no {EVALUATION_FILE}: embed the checkpoint first")
    manifest = load_manifest(Path(evaluation.shards))
    if manifest.fingerprint != evaluation.fingerprint:
        raise UserError(f"{evaluation.shards} is another data set than the one that {folder} was embedded from")
    tensors = load_file(folder / EMBEDDINGS_FILE)
    fit, test = (Embedded.from_tensors(tensors, name) for name in ("fit", "test"))
    clips = score_clips(manifest, evaluation.scorers, fit, test)
    header = _header(evaluation, manifest)
    _draw(folder, clips, build_report(clips, header), evaluation, tensorboard)
    report = write_report(folder, clips, header)  # last: what has no report.json is scored again on resume
    if not keep_embeddings:
        (folder / EMBEDDINGS_FILE).unlink()
    return report


def score_clips(manifest: Manifest, scorers: tuple[ScorerConfig, ...], fit: Embedded, test: Embedded) -> ClipScores:
    """The scores of all scorers for the embedded test clips."""
    clips = test.clip_index.numpy()
    scores: dict[str, np.ndarray] = {}
    for config in scorers:
        scorer = build_scorer(config)
        scorer.fit(fit)
        scores[scorer_label(config)] = scorer.score(test)
    return ClipScores(
        key=manifest.strings("key", clips),
        file_name=manifest.strings("file_name", clips),
        machine_type=manifest.strings("machine_type", clips),
        machine_id=manifest.strings("machine_id", clips),
        domain=manifest.strings("domain", clips),
        label=manifest.label[clips].astype(np.int64),
        scores=scores,
    )


def _header(evaluation: Evaluation, manifest: Manifest) -> dict[str, Any]:
    body = evaluation.model_dump(mode="json", exclude={"format", "scorers", "select"})
    return {
        **body,
        "classes": len(manifest.classes),
        "selection": {"rule": evaluation.select, "oracle": evaluation.select == "oracle"},
        "primary": scorer_label(evaluation.scorers[0]),
        "baselines": [scorer_label(s) for s in evaluation.scorers if s.name == "untrained_knn"],
    }


def _draw(
    folder: Path, clips: ClipScores, report: dict[str, Any], evaluation: Evaluation, tensorboard: Path | None
) -> None:
    primary = report["primary"]
    pictures = {
        "roc": figures.roc_figure(clips, primary),
        "scores": figures.histogram_figure(clips, primary),
        "comparison": figures.comparison_figure(report),
    }
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in pictures.items():
        figure.savefig(folder / "figures" / f"{name}.png", dpi=100)
    if tensorboard is None:
        return
    writer = TensorBoardLogger(tensorboard)
    writer.log(evaluation.step, scalars(report))
    if evaluation.validation is not None:
        writer.log(evaluation.step, {f"validation/{k}": v for k, v in evaluation.validation.model_dump().items()})
    for name, figure in pictures.items():
        writer.figure(evaluation.step, name, figure)
    writer.text(evaluation.step, "report", markdown(report))
    writer.close()


def _leave_with_parent() -> None:
    """The training process holds the other end of stdin; when it is gone, a resumed run scores this folder again."""
    os.read(0, 1)
    os._exit(1)


def _main() -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    score_folder(folder, Path(sys.argv[2]))


if __name__ == "__main__":
    run_main(_main)
