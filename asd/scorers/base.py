"""The interface of a scorer, and the base class of those with one model per class.

A new one is one file: a config with `name` and `label`, and the two methods of `PerClassScorer`; then its name in
`MEMBERS` and in `AnyMember`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
import pydantic
import torch
from torch import Tensor

from asd.errors import UserError
from asd.scorers.embeddings import EmbeddingTable, all_finite
from asd.scorers.folds import FOLDS, fold_of

Model = TypeVar("Model")
Reads = Literal["embedding", "logits", "errors", "features", "faults", "residuals"]


class Scorer(Protocol):
    """Learns what is normal from training clips, then scores test clips: higher = more anomalous."""

    models: dict[int, Any]  # class → what is known of it

    def fit(self, train: EmbeddingTable) -> None:
        """Learn from the normal training clips; a second call replaces the first."""

    def score(self, test: EmbeddingTable) -> np.ndarray:
        """(N,) float64, each row against its own class. UserError where a class has no training clip."""

    def score_normal(self, normal: EmbeddingTable, train: EmbeddingTable) -> np.ndarray:
        """(N,) float64 of rows that may be training rows, each as if nothing of its recording had been learnt.

        train: what the scorer was fitted to. nan where that holds no other recording of the class.
        """

    def prepare(self) -> None:
        """Do once what every call of `score` would do with the models, for whoever calls it often; takes memory."""


class EmbeddingScorerConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Base of the configs of scorers that read the embedding."""

    view: str | None = None  # the part of the embedding that it reads, as the backbone names it; None: all of it


class PerClassScorer(ABC, Generic[Model]):
    """A scorer with one model per class, fitted to the class's training clips.

    A detector file keeps the models by the type in brackets, such as `PerClassScorer[Tensor]`.
    """

    reads: ClassVar[Reads] = "embedding"  # the one column that the two methods see; finite, or the clip is named
    wants: ClassVar[Reads | None] = None  # what else a task must give
    by_clip: ClassVar[bool] = False  # what it reads is the same for all windows of a clip
    needs_folds: ClassVar[bool] = True  # its model is of all clips; else it leaves a row's own recording out by itself
    learns_from_faults: ClassVar[bool] = False  # training clips that are labelled anomaly: EmbeddingTable.known_faults
    in_turn: ClassVar[int] = 0  # recordings of a class up to which that is not enough: each is left out by a fit
    why_untraceable: ClassVar[str] = ""  # why `score_class` cannot be traced with `traceable` models; empty: it can

    def __init__(self, config: pydantic.BaseModel | None = None) -> None:
        self.models: dict[int, Model] = {}
        self._prepared: dict[int, Any] = {}
        self.view = config.view if isinstance(config, EmbeddingScorerConfig) else None

    def fit(self, train: EmbeddingTable) -> None:
        """Fit one model to the clips of each class found."""
        train = self._read(train)
        train = train.per_clip() if self.by_clip else train
        check_finite(getattr(train, self.reads), train, f"training {self.reads}")
        self.models = {own: self.fit_class(train.select(rows)) for own, rows in train.rows_by_class().items()}
        self._prepared = {}

    def prepare(self) -> None:
        self._prepared = {own: self.prepared(model) for own, model in self.models.items()}

    def score(self, test: EmbeddingTable) -> np.ndarray:
        """(N,) float64, each row by the model of its own class. UserError where that class has none."""
        test = test.only(self.reads, self.view)
        if self.by_clip and (clips := test.per_clip()) is not test:
            return self.score(clips)[test.clips()[1].numpy()]
        check_classes(self.models.keys(), test)
        check_finite(getattr(test, self.reads), test, f"test {self.reads}")
        scores, rows_of_class = torch.empty(len(test), dtype=torch.float64), test.rows_by_class()
        for own, rows in rows_of_class.items():
            model = self._prepared.get(own, self.models[own])
            scores[rows] = self.score_class(model, test if len(rows_of_class) == 1 else test.select(rows))
        return scores.numpy()

    def score_normal(self, normal: EmbeddingTable, train: EmbeddingTable) -> np.ndarray:
        """(N,) float64, each row by what other recordings say; nan where its class has none."""
        if not self.needs_folds and not self.in_turn:
            return self.score(normal)
        normal, train = self._read(normal), self._read(train)
        check_classes(self.models.keys(), normal)
        check_finite(getattr(normal, self.reads), normal, f"training {self.reads}")
        scores = torch.full((len(normal),), torch.nan, dtype=torch.float64)
        rows_of_class = train.rows_by_class()
        for own, rows in normal.rows_by_class().items():
            scores[rows] = self._score_folds(own, normal.select(rows), train.select(rows_of_class[own]))
        return scores.numpy()

    def _read(self, clips: EmbeddingTable) -> EmbeddingTable:
        """The one column that the scorer sees, and known faults where it learns from them: a bank would keep them."""
        read = clips.only(self.reads, self.view)
        return read if self.learns_from_faults else replace(read, known_faults=None)

    def _score_folds(self, own: int, normal: EmbeddingTable, train: EmbeddingTable) -> Tensor:
        """(n,) of one class: recordings that were trained on by models of the other folds', the rest by the model."""
        count = FOLDS if self.needs_folds else len(train.recording.unique())
        if not self.needs_folds and count > self.in_turn:
            return self.score_class(self.models[own], normal)
        scores = torch.full((len(normal),), torch.nan, dtype=torch.float64)
        new = ~torch.isin(normal.recording, train.recording)
        if new.any():
            scores[new] = self.score_class(self.models[own], normal.select(new))
        folds = fold_of(train.class_index, train.recording, count)
        for fold in range(count):
            rows, others = torch.isin(normal.recording, train.recording[folds == fold]), folds != fold
            if rows.any() and others.any():
                scores[rows] = self.score_class(self.fit_class(train.select(others)), normal.select(rows))
        return scores

    @abstractmethod
    def fit_class(self, train: EmbeddingTable) -> Model:
        """The model of one class from its training clips, at least one."""

    @abstractmethod
    def score_class(self, model: Model, test: EmbeddingTable) -> Tensor:
        """Scores (n,) float64 of test clips that all belong to the model's class."""

    def prepared(self, model: Model) -> Any:
        """A model in a form that `score_class` takes, too, and has less to do with; as it is, where that is nothing."""
        return model

    def traceable(self, models: Sequence[Model]) -> Sequence[Any]:
        """Models of all classes in a form that `score_class` takes, too, with operations of ONNX alone (see
        asd.scorers.traced); as they are, where it does so anyway."""
        return models


def check_classes(trained: Collection[int], test: EmbeddingTable, names: Sequence[str] = ()) -> None:
    """Raises UserError that names the first test clip whose class is not among the trained ones.

    names: the class table's words for the message, where the caller has them.
    """
    known = torch.tensor(sorted(trained), dtype=torch.int64)
    strange = ~torch.isin(test.class_index, known)
    if strange.any():
        first = int(strange.nonzero()[0])
        clip, class_index = int(test.clip_index[first]), int(test.class_index[first])
        name = names[class_index] if 0 <= class_index < len(names) else str(class_index)
        raise UserError(
            f"test clip {clip} is of class {name}, of which there is no training embedding: "
            "a score needs at least one normal training clip of the same class"
        )


def check_finite(rows: Tensor, clips: EmbeddingTable, what: str) -> None:
    """Raises UserError that names the first of the clips whose row holds NaN or infinity."""
    if all_finite(rows):
        return
    broken = clips.clip_index[~rows.isfinite().all(dim=1)]
    raise UserError(
        f"{what} of clip {int(broken[0])} is not finite ({len(broken.unique())} such clips of "
        f"{len(clips.clip_index.unique())}): the network diverged; score an earlier checkpoint"
    )
