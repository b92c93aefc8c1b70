"""Several scorers as one, without a label: each on the scale of the class's own training clips, then their middle.

Legend: K members, N rows, n training rows of a class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
import pydantic
import torch
from torch import Tensor

from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.knn import KnnConfig
from asd.scorers.mahalanobis import MahalanobisConfig
from asd.scorers.members import MEMBERS, AnyMember, MemberConfig, member_label
from asd.scorers.scale import Scale, scale_of


class FusedConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """members: scorers with their settings. views: of the embedding; each member that reads it and names no view itself
    counts once for every one of these. by: what is taken of the members' scores, each in standard deviations above the
    mean of the class's training clips, scored by one another. called: behind `fused` in the name, to tell two apart.
    """

    name: Literal["fused"] = "fused"
    members: tuple[MemberConfig, ...] = (KnnConfig(), MahalanobisConfig())
    views: tuple[str, ...] = ()
    by: Literal["median", "mean", "max", "min"] = "median"
    called: str = pydantic.Field(default="", pattern=r"^[A-Za-z0-9_.-]*$")

    @pydantic.model_validator(mode="after")
    def _told_apart(self) -> Self:
        labels = [member_label(member) for member in self.expanded()]
        if not labels:
            raise ValueError("fused has no members: name some, such as [{name: knn}, {name: mahalanobis}]")
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            raise ValueError(f"fused has two members with the name {twice}")
        return self

    @property
    def label(self) -> str:
        return "_".join(filter(None, ["fused", "" if self.by == "median" else self.by, self.called]))

    def expanded(self) -> tuple[AnyMember, ...]:
        """The members, one for each view where they read one."""
        found: list[AnyMember] = []
        for member in self.members:
            takes_view = isinstance(member, EmbeddingScorerConfig) and member.view is None and self.views
            own = [member.model_copy(update={"view": view}) for view in self.views] if takes_view else [member]
            found += own
        return tuple(found)


Model = tuple[tuple[Any, ...], Scale]  # of a class: what each member knows, and the scale of their scores


class Fused:
    """0 is a usual training clip of the class, 1 a standard deviation above.

    A class of fewer than five recordings has no standard deviation to speak of: 1 is then the mean score above the
    mean score. Of a single one, or of equal ones, nothing is known, and members count in their own units.
    """

    def __init__(self, config: FusedConfig) -> None:
        self.config = config
        self.members: list[PerClassScorer[Any]] = [MEMBERS[member.name](member) for member in config.expanded()]
        self.scales: dict[int, Scale] = {}
        self._left_out = torch.empty(len(self.members), 0, dtype=torch.float64)  # (K, n) of what it was fitted to

    @property
    def labels(self) -> list[str]:
        """Names of the members, in the order of `parts`."""
        return [member_label(member) for member in self.config.expanded()]

    @property
    def models(self) -> dict[int, Model]:
        """Class → what is known of it."""
        return {own: (tuple(m.models[own] for m in self.members), scale) for own, scale in self.scales.items()}

    @models.setter
    def models(self, models: dict[int, Model]) -> None:
        self.scales = {own: Scale(*scale) for own, (_, scale) in models.items()}
        for place, member in enumerate(self.members):
            member.models = {own: known[place] for own, (known, _) in models.items()}

    def fit(self, train: EmbeddingTable) -> None:
        """Fit the members, and have each score the training clips as if nothing of their recording had been learnt."""
        for member in self.members:
            member.fit(train)
        self._left_out = self._by_member(lambda member: member.score_normal(train, train))
        rows = train.rows_by_class()
        self.scales = {own: scale_of(self._left_out[:, its], _count(train.recording[its])) for own, its in rows.items()}

    def score(self, test: EmbeddingTable) -> np.ndarray:
        """(N,) float64, each row against its own class. UserError where a class has no training clip."""
        return self._combined(self.parts(test))

    def parts(self, test: EmbeddingTable) -> Tensor:
        """(N, K) float64: what each member says, in standard deviations above the class's own training clips."""
        found = self._by_member(lambda member: member.score(test))
        for own, rows in test.rows_by_class().items():
            found[:, rows] = _scaled(found[:, rows], self.scales[own])
        return found.T

    def score_normal(self, normal: EmbeddingTable, train: EmbeddingTable) -> np.ndarray:
        """(N,) float64 of rows that may be training rows: neither members nor scale know of a row's own recording."""
        found = self._by_member(lambda member: member.score_normal(normal, train))
        known = train.rows_by_class()
        for own, rows in normal.rows_by_class().items():
            recordings = train.recording[known[own]]
            for recording in normal.recording[rows].unique():
                its, others = rows[normal.recording[rows] == recording], recordings != recording
                left_out = self._left_out[:, known[own][others]]
                scale = self.scales[own] if others.all() else scale_of(left_out, _count(recordings))
                found[:, its] = _scaled(found[:, its], scale)
        return self._combined(found.T)

    def _by_member(self, scores: Callable[[PerClassScorer[Any]], np.ndarray]) -> Tensor:
        return torch.stack([torch.from_numpy(scores(member)) for member in self.members])

    def _combined(self, parts: Tensor) -> np.ndarray:
        ascending, rule = parts.sort(dim=1).values, self.config.by
        if rule == "mean":
            return parts.mean(dim=1).numpy()
        last = len(self.members) - 1
        low, high = {"median": (last // 2, last - last // 2), "min": (0, 0), "max": (last, last)}[rule]
        return ((ascending[:, low] + ascending[:, high]) / 2).numpy()


def _count(recording: Tensor) -> int:
    return len(recording.unique())


def _scaled(scores: Tensor, scale: Scale) -> Tensor:
    return (scores - scale.centre[:, None]) / scale.spread[:, None]
