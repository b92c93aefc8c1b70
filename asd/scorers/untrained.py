"""The untrained baseline of the field: the nearest training clip of the same ID on time-mean log-mels."""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor

from asd.scorers.base import PerClassScorer
from asd.scorers.embedded import Embedded
from asd.scorers.knn import nearest_distance


class UntrainedKnnConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """level: `raw` keeps the loudness of a clip; `normalised` takes its mean over the mel bands (the gain) away."""

    name: Literal["untrained_knn"] = "untrained_knn"
    level: Literal["raw", "normalised"] = "raw"

    @property
    def label(self) -> str:
        return "untrained_knn" if self.level == "raw" else "untrained_knn_level"


class UntrainedKnn(PerClassScorer[Tensor]):
    """Euclidean distance in dB to the nearest training clip, (n, M) float64 per class; no network takes part."""

    reads = "features"
    by_clip = True

    def __init__(self, config: UntrainedKnnConfig) -> None:
        super().__init__()
        self.config = config

    def fit_class(self, train: Embedded) -> Tensor:
        return self._space(train)

    def score_class(self, model: Tensor, test: Embedded) -> Tensor:
        return nearest_distance(self._space(test), model, k=1, metric="euclidean")

    def _space(self, clips: Embedded) -> Tensor:
        features = clips.features.double()
        return features - features.mean(dim=1, keepdim=True) if self.config.level == "normalised" else features
