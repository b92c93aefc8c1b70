"""Log odds that a clip is none of its machine's normal sounds, by the binary head that task outlier_exposure trains."""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor

from asd.scorers.base import PerClassScorer
from asd.scorers.embeddings import EmbeddingTable


class FaultHeadConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """No settings: the network's own head."""

    name: Literal["fault_head"] = "fault_head"

    @property
    def label(self) -> str:
        return "fault_head"


class FaultHead(PerClassScorer[None]):
    """Nothing is fitted; a class without training clips has no trained head and is refused."""

    reads = "faults"
    needs_folds = False

    def __init__(self, config: FaultHeadConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> None:
        return None

    def score_class(self, model: None, test: EmbeddingTable) -> Tensor:
        return test.faults.double().gather(1, test.class_index.unsqueeze(1)).squeeze(1)
