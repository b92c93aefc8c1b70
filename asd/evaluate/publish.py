"""An evaluation's report, figures and TensorBoard entries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from asd.evaluate.store import Evaluation
from asd.files.atomic import whole
from asd.loggers.tensorboard import TensorBoardLogger
from asd.report import ClipScores, figures, markdown, scalars
from asd.scorers import EmbeddingTable

PROJECTED_DIM = 128  # 2,000 embeddings of 2048 as text would be 77 MB and take 3 s; so they are 5 MB
LABEL_NAMES = {-1: "unlabelled", 0: "normal", 1: "anomaly"}


def save_scores(folder: Path, pictures: figures.Figures) -> None:
    folder.mkdir(exist_ok=True)
    for name, figure in pictures.items():
        # Level 1 of 9 packs all but as well, in less than half the time.
        with whole(folder / f"{name}.png") as file:
            figure.savefig(file, format="png", pil_kwargs={"compress_level": 1})


def show_in_tensorboard(
    folder: Path,
    evaluation: Evaluation,
    clips: ClipScores,
    report: dict[str, Any],
    pictures: figures.Figures,
    test: EmbeddingTable,
) -> None:
    """Everything of an evaluation into TensorBoard."""
    writer = TensorBoardLogger(folder)
    step = evaluation.step
    writer.log(step, scalars(report))
    if evaluation.validation is not None:
        writer.log(step, evaluation.validation.scalars())
    for name, figure in pictures.items():
        writer.figure(step, f"figures/{name}", figure)  # one group, which TensorBoard opens at once
    writer.text(step, "report", markdown(report))
    if report["warnings"]:
        writer.text(step, "warning", "\n\n".join(warning["text"] for warning in report["warnings"]))
    _project(writer, step, clips, test)
    writer.close()


def _project(writer: TensorBoardLogger, step: int, clips: ClipScores, test: EmbeddingTable) -> None:
    """Test embeddings for TensorBoard's projector, of the newest evaluation alone: each one takes megabytes."""
    if not len(clips):
        return
    chosen = figures.draw_clips(len(clips), seed=0)
    labels = [LABEL_NAMES[value] for value in clips.label.tolist()]
    columns = (clips.machine_type, clips.machine_id, labels, clips.key)
    rows = [[column[i] for column in columns] for i in chosen.tolist()]
    vectors = principal_components(test.embedding[torch.from_numpy(chosen)], PROJECTED_DIM)
    writer.embedding(step, "test", vectors, ["machine", "id", "label", "key"], rows)


def principal_components(vectors: torch.Tensor, dim: int) -> torch.Tensor:
    """The first dim principal components of vectors (N, D), or the vectors where they are no wider."""
    if vectors.shape[1] <= dim:
        return vectors
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # it starts from random directions
        left, strength, _ = torch.pca_lowrank(vectors, min(dim, len(vectors)))
    return left * strength
