"""Scalars, figures, text and embeddings for TensorBoard."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from asd.files.atomic import naming

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # a third of a second that a run without figures does not wait for
from asd.loggers.base import Logger, Record


class TensorBoardLogger(Logger):
    """Scalars, figures and text under one folder of the run; steps after a resume replace the former ones."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self._folder = folder
        with naming(folder):
            self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def log(self, step: int, record: Record) -> None:
        with naming(self._folder):
            for name, value in record.items():
                self._writer.add_scalar(name if "/" in name else f"train/{name}", value, step)

    def figure(self, step: int, name: str, figure: Figure) -> None:
        self._writer.add_figure(name, figure, step, close=False)

    def embedding(
        self, step: int, name: str, vectors: Tensor, columns: list[str], rows: Sequence[Sequence[str]]
    ) -> None:
        """Vectors (N, D) for the projector, with N rows of metadata; those of an earlier step are removed."""
        with naming(self._folder):
            for earlier in self._folder.glob(f"[0-9]*/{name}"):
                shutil.rmtree(earlier.parent)
            self._writer.add_embedding(vectors, list(rows), global_step=step, tag=name, metadata_header=columns)

    def text(self, step: int, name: str, markdown: str) -> None:
        self._writer.add_text(name, markdown, step)

    def flush(self) -> None:
        with naming(self._folder):
            self._writer.flush()

    def close(self) -> None:
        with naming(self._folder):
            self._writer.close()
