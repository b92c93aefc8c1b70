"""Scalars, figures, text and embeddings for TensorBoard."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from asd.files.atomic import naming
from asd.loggers.base import Logger, Outcome, Record, Source, TrackerSettings
from asd.process.startup import quick_imports
from asd.text.shell import command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

FOLDER = "tensorboard"
PROJECTED_DIM = 128  # 2,000 embeddings of 2048 as text would be 77 MB and take 3 s; so they are 5 MB


class TensorBoardConfig(TrackerSettings, frozen=True):
    """Event files in the run folder, below `tensorboard`: `train` and `eval`."""

    name: Literal["tensorboard"] = "tensorboard"

    def build(self, source: Source) -> Logger:
        purge = source.first_step + 1 if source.first_step else None
        return TensorBoardLogger(source.folder / FOLDER / source.process, purge)

    def viewer(self, folder: Path) -> str:
        return command("tensorboard", "--logdir", folder / FOLDER)


class TensorBoardLogger(Logger):
    """Everything under one folder; steps after a resume replace the former ones."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        with quick_imports():  # half a second that other commands do not wait for
            from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        with naming(folder):
            self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def log(self, step: int, record: Record) -> None:
        with naming(self._folder):
            for name, value in record.items():
                if name.startswith("alert/"):  # points are joined by lines: an edge has two
                    self._writer.add_scalar(name, 1.0 - value, step)
                self._writer.add_scalar(name if "/" in name else f"train/{name}", value, step)

    def text(self, step: int, name: str, markdown: str) -> None:
        with naming(self._folder):
            self._writer.add_text(name, markdown, step)

    def figure(self, step: int, name: str, figure: Figure) -> None:
        with naming(self._folder):
            self._writer.add_figure(name, figure, step, close=False)

    def embedding(
        self, step: int, name: str, vectors: Tensor, columns: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> None:
        """For the projector, of the newest step alone: each takes megabytes."""
        with naming(self._folder):
            for earlier in self._folder.glob(f"[0-9]*/{name}"):
                shutil.rmtree(earlier.parent)
            shown = principal_components(vectors, PROJECTED_DIM)
            self._writer.add_embedding(shown, list(rows), global_step=step, tag=name, metadata_header=list(columns))

    def flush(self) -> None:
        with naming(self._folder):
            self._writer.flush()

    def close(self, outcome: Outcome = "finished") -> None:
        with naming(self._folder):
            self._writer.close()


def principal_components(vectors: Tensor, dim: int) -> Tensor:
    """The first dim principal components of vectors (N, D), or the vectors where they are no wider."""
    import torch

    if vectors.shape[1] <= dim:
        return vectors
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # it starts from random directions
        left, strength, _ = torch.pca_lowrank(vectors, min(dim, len(vectors)))
    return left * strength
