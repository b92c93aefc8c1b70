"""The untrained baseline of the field: the nearest training clip of the same ID on time-mean log-mels."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from asd.scorers.bank import BankConfig, in_bank
from asd.scorers.base import PerClassScorer
from asd.scorers.distance import Rows
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.knn import nearest_distance


class UntrainedKnnConfig(BankConfig, frozen=True):
    """level: `raw` keeps the loudness of a clip; `normalised` takes its mean over the mel bands (the gain) away."""

    name: Literal["untrained_knn"] = "untrained_knn"
    level: Literal["raw", "normalised"] = "raw"

    @property
    def label(self) -> str:
        return "untrained_knn" if self.level == "raw" else "untrained_knn_level"


class UntrainedKnn(PerClassScorer[Rows]):
    """Euclidean distance in dB to the nearest training clip of the class; no network takes part."""

    reads = "features"
    by_clip = True
    needs_folds = False

    def __init__(self, config: UntrainedKnnConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> Rows:
        return self._rows(in_bank(train, self.config, self._rows(train).space))

    def score_class(self, model: Rows, test: EmbeddingTable) -> Tensor:
        return nearest_distance(self._rows(test), model, k=1, metric="euclidean")

    def _rows(self, clips: EmbeddingTable) -> Rows:
        features = clips.features.double()
        if self.config.level == "normalised":
            features = features - features.mean(dim=1, keepdim=True)
        return Rows(features, clips.recording)
