"""Figures of an evaluation, and what is sent to the trackers."""

from __future__ import annotations

from pathlib import Path

import torch

from asd.evaluate.store import Evaluation
from asd.files.atomic import whole
from asd.loggers.base import Logger
from asd.metrics import ClipScores
from asd.report import Report, figures, markdown, scalars
from asd.scorers import EmbeddingTable

LABEL_NAMES = {-1: "unlabelled", 0: "normal", 1: "anomaly"}


def save_scores(folder: Path, pictures: figures.Figures) -> None:
    folder.mkdir(exist_ok=True)
    for name, figure in pictures.items():
        # Level 1 of 9 packs all but as well, in less than half the time.
        with whole(folder / f"{name}.png") as file:
            figure.savefig(file, format="png", pil_kwargs={"compress_level": 1})


def show(
    loggers: Logger,
    evaluation: Evaluation,
    clips: ClipScores,
    report: Report,
    pictures: figures.Figures,
    test: EmbeddingTable,
) -> None:
    """Everything of an evaluation into the loggers; it is there when this returns."""
    step = evaluation.step
    loggers.log(step, scalars(report))
    if evaluation.validation is not None:
        loggers.log(step, evaluation.validation.scalars())
    for name, figure in pictures.items():
        loggers.figure(step, f"figures/{name}", figure)  # one group, which TensorBoard opens at once
    loggers.text(step, "report", markdown(report))
    if report.warnings:
        loggers.text(step, "warning", "\n\n".join(warning.text for warning in report.warnings))
    if len(clips):
        chosen = figures.draw_clips(len(clips), seed=0)
        labels = [LABEL_NAMES[value] for value in clips.label.tolist()]
        columns = (clips.machine_type, clips.machine_id, labels, clips.key)
        rows = [[column[i] for column in columns] for i in chosen.tolist()]
        vectors = test.embedding[torch.from_numpy(chosen)]
        loggers.embedding(step, "test", vectors, ["machine", "id", "label", "key"], rows)
    loggers.flush()
