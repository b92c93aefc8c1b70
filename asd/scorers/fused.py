"""Several scorers as one, without a label: each on the scale of the class's own training clips, then their middle.

Legend: K members, N rows, n training rows of a class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
import pydantic
import torch
from torch import Tensor

from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.knn import KnnConfig
from asd.scorers.learnt import learnt
from asd.scorers.mahalanobis import MahalanobisConfig
from asd.scorers.members import MEMBERS, AnyMember, MemberConfig, member_label
from asd.scorers.scale import Scale, scale_of


class FusedConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """members: scorers with their settings. views: of the embedding; each member that reads it and names no view itself
    counts once for every one of these. by: what is taken of the members' scores, each in standard deviations above the
    mean of the class's training clips, scored by one another. trained: scorers of what a network has learnt; their mean
    joins the others' middle, counting as much as it or less: by the share of those held-out normal clips that the
    nearest mean spectrum takes for another machine's, and the network surely does not (0 without held-out clips, which
    evaluate.fit_held_out gives). faults: scorers of known faults, one for each view; in a class that has some, their
    middle counts as much as the others'. called: behind `fused` in the name, to tell two apart.
    """

    name: Literal["fused"] = "fused"
    members: tuple[MemberConfig, ...] = (KnnConfig(), MahalanobisConfig())
    views: tuple[str, ...] = ()
    by: Literal["median", "mean", "max", "min"] = "median"
    trained: tuple[MemberConfig, ...] = ()
    faults: tuple[MemberConfig, ...] = ()
    called: str = pydantic.Field(default="", pattern=r"^[A-Za-z0-9_.-]*$")

    @pydantic.model_validator(mode="after")
    def _told_apart(self) -> Self:
        labels = [member_label(member) for member in self.expanded()]
        if not self.members:
            raise ValueError("fused has no members: name some, such as [{name: knn}, {name: mahalanobis}]")
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            raise ValueError(f"fused has two members with the name {twice}")
        if deaf := next((own.name for own in self.faults if not MEMBERS[own.name].learns_from_faults), None):
            raise ValueError(f"{deaf} does not learn from known faults: name it in members, matched_filter in faults")
        return self

    @property
    def label(self) -> str:
        return "_".join(filter(None, ["fused", "" if self.by == "median" else self.by, self.called]))

    def expanded(self) -> tuple[AnyMember, ...]:
        """The members and those of known faults, one for each view where they read one, then the trained ones."""
        return (*self._by_view(self.members), *self._by_view(self.faults), *self.trained)

    def of_faults(self) -> range:
        """Places of those of known faults among these: behind the members, before the trained ones."""
        first = len(self._by_view(self.members))
        return range(first, first + len(self._by_view(self.faults)))

    def _by_view(self, members: Sequence[AnyMember]) -> list[AnyMember]:
        found: list[AnyMember] = []
        for member in members:
            takes_view = isinstance(member, EmbeddingScorerConfig) and member.view is None and self.views
            own = [member.model_copy(update={"view": view}) for view in self.views] if takes_view else [member]
            found += own
        return found


Model = tuple[Any, ...]  # of a class: what each member knows, the scale of their scores, and what trained members count


class Fused:
    """0 is a usual training clip of the class, 1 a standard deviation above.

    A class of fewer than five recordings has no standard deviation to speak of: 1 is then the mean score above the
    mean score. Of a single one, or of equal ones, nothing is known, and members count in their own units.
    """

    def __init__(self, config: FusedConfig) -> None:
        self.config = config
        self.members: list[PerClassScorer[Any]] = [MEMBERS[member.name](member) for member in config.expanded()]
        self.scales: dict[int, Scale] = {}
        self.share = 0.0  # how many times as much the trained members count as the others
        places = config.of_faults()
        self._plain, self._untrained = places.start, places.stop  # members that come first, without and with faults'
        self._clips = torch.empty(0, dtype=torch.int64)  # (n,) that it was fitted to
        self._left_out = torch.empty(len(self.members), 0, dtype=torch.float64)  # (K, n) of these, each left out
        self._farther = torch.ones(len(self.members), 1, dtype=torch.float64)  # held-out clips than those learnt from

    @property
    def labels(self) -> list[str]:
        """Names of the members that count, in the order of `parts`."""
        members = self.config.expanded()
        return [member_label(members[place]) for place in self._counting]

    @property
    def models(self) -> dict[int, Model]:
        """Class → what is known of it."""
        share = (self.share,) if self.config.trained else ()
        return {own: (tuple(m.models[own] for m in self.members), scale, *share) for own, scale in self.scales.items()}

    @models.setter
    def models(self, models: dict[int, Model]) -> None:
        self.scales = {own: Scale(*scale) for own, (_, scale, *_) in models.items()}
        self.share = max((share for _, _, *shares in models.values() for share in shares), default=0.0)
        for place, member in enumerate(self.members):
            member.models = {own: known[place] for own, (known, *_) in models.items()}

    def fit(self, train: EmbeddingTable) -> None:
        """Fit the members, and have each score the training clips as if nothing of their recording had been learnt."""
        for member in self.members:
            member.fit(train)
        found, rows = self._by_member(lambda member: member.score_normal(train, train)), train.rows_by_class()
        if self.config.trained:
            earned = learnt(train)
            self.share = 0.0 if earned is None else earned.share
            self._farther[self._untrained :] = how_much_farther(found[self._untrained :], train)
        self._clips, self._left_out = train.clip_index, self._as_if_new(found, train)
        self.scales = {own: scale_of(self._left_out[:, its], _count(train.recording[its])) for own, its in rows.items()}

    def prepare(self) -> None:
        """See asd.scorers.base."""
        for member in self.members:
            member.prepare()

    def score(self, test: EmbeddingTable) -> np.ndarray:
        """(N,) float64, each row against its own class. UserError where a class has no training clip."""
        return self.combined(self._scaled_scores(test), test.class_index).numpy()

    def parts(self, test: EmbeddingTable) -> Tensor:
        """(N, members that count) float64: what each says, in standard deviations above the class's training clips."""
        return self._scaled_scores(test)[:, self._counting]

    @property
    def _counting(self) -> list[int]:
        faults = range(self._plain, self._untrained) if self.with_faults else ()
        trained = range(self._untrained, len(self.members)) if self.share > 0 else ()
        return [*range(self._plain), *faults, *trained]

    @property
    def with_faults(self) -> list[int]:
        """Classes that have known faults."""
        known = [member.models for member in self.members[self._plain : self._untrained]][:1]
        return [own for models in known for own, model in models.items() if model is not None]

    def _scaled_scores(self, test: EmbeddingTable) -> Tensor:
        found = self._by_member(lambda member: member.score(test))
        for own, rows in test.rows_by_class().items():
            found[:, rows] = scaled(found[:, rows], self.scales[own])
        return found.T

    def score_normal(self, normal: EmbeddingTable, train: EmbeddingTable) -> np.ndarray:
        """(N,) float64 of rows that may be training rows: neither members nor scale know of a row's own recording."""
        if normal.clip_index.equal(self._clips):  # as a rule, and it takes as long as to fit
            found = self._left_out.clone()
        else:
            found = self._as_if_new(self._by_member(lambda member: member.score_normal(normal, train)), normal)
        known = train.rows_by_class()
        for own, rows in normal.rows_by_class().items():
            recordings = train.recording[known[own]]
            for recording in normal.recording[rows].unique():
                its, others = rows[normal.recording[rows] == recording], recordings != recording
                left_out = self._left_out[:, known[own][others]]
                scale = self.scales[own] if others.all() else scale_of(left_out, _count(recordings))
                found[:, its] = scaled(found[:, its], scale)
        return self.combined(found.T, normal.class_index).numpy()

    def _by_member(self, scores: Callable[[PerClassScorer[Any]], np.ndarray]) -> Tensor:
        return torch.stack([torch.from_numpy(scores(member)) for member in self.members])

    def _as_if_new(self, scores: Tensor, clips: EmbeddingTable) -> Tensor:
        """Scores (K, N) of clips that the network learnt from as large as those of others are."""
        return torch.where(clips.held_out == 1, scores, scores * self._farther)

    def combined(self, parts: Tensor, class_index: Tensor) -> Tensor:
        """(N,) of what members say (N, K), on the class's scale, of rows of these classes (N,)."""
        found, weight = self._middle(parts[:, : self._plain]), torch.ones(len(parts), dtype=torch.float64)
        if own := self.with_faults:
            counts = torch.isin(class_index, torch.tensor(own))
            found = torch.where(counts, found + self._middle(parts[:, self._plain : self._untrained]), found)
            weight += counts
        if self.share > 0:
            found = found + self.share * parts[:, self._untrained :].mean(dim=1)
            weight += self.share
        return found / weight

    def _middle(self, parts: Tensor) -> Tensor:
        ascending, rule = parts.sort(dim=1).values, self.config.by
        if rule == "mean":
            return parts.mean(dim=1)
        last = parts.shape[1] - 1
        low, high = {"median": (last // 2, last - last // 2), "min": (0, 0), "max": (last, last)}[rule]
        return (ascending[:, low] + ascending[:, high]) / 2


def how_much_farther(scores: Tensor, train: EmbeddingTable) -> Tensor:
    """(K, 1): by left-out scores (K, n) of a network's scorers, the mean one of held-out clips, relative to that of
    clips which it learnt from; the mean over classes where both are known, 1 where there is none."""
    by_class = [(scores[:, its], train.held_out[its] == 1) for its in train.rows_by_class().values()]
    ratios = [own[:, new].mean(1) / own[:, ~new].mean(1) for own, new in by_class if new.any() and not new.all()]
    known = [ratio for ratio in ratios if ratio.isfinite().all() and (ratio > 0).all()]
    return torch.stack(known).mean(0)[:, None] if known else torch.ones(len(scores), 1, dtype=torch.float64)


def _count(recording: Tensor) -> int:
    return len(recording.unique())


def scaled(scores: Tensor, scale: Scale) -> Tensor:
    return (scores - scale.centre[:, None]) / scale.spread[:, None]
