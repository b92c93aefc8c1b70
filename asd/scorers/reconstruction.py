"""The reconstruction or prediction error of a clip, summed up over its parts (S6)."""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor

from asd.scorers.base import PerClassScorer
from asd.scorers.embeddings import ERRORS, EmbeddingTable


class ReconstructionConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """summary: of the errors of a clip's frames or windows."""

    name: Literal["reconstruction"] = "reconstruction"
    summary: Literal["mean", "median", "std"] = "mean"

    @property
    def label(self) -> str:
        return "reconstruction" + ("" if self.summary == "mean" else f"_{self.summary}")


class Reconstruction(PerClassScorer[None]):
    """The summed-up error as it is. Nothing is fitted."""

    reads = "errors"
    needs_folds = False

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> None:
        return None

    def score_class(self, model: None, test: EmbeddingTable) -> Tensor:
        return test.errors[:, ERRORS.index(self.config.summary)].double()
