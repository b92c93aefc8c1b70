"""Fitted scorers as modules of tensor operations of fixed shapes, in which a class is an input: what ONNX can hold.

The models of all classes are stacked, filled up to one size, and a class's own is cut out of the stack and given to the
scorer's own `score_class`: there is one formula of a score. Rows that fill up a bank are of no recording but the
query's, and no row is compared with its own recording.

Legend: C classes, N rows of one clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.scorers import EmbeddingTable, Scorer, ScorerConfig, members_of, scorer_label
from asd.scorers.base import PerClassScorer
from asd.scorers.fused import Fused, scaled
from asd.scorers.members import MEMBERS
from asd.scorers.scale import Scale

NOWHERE = -(1 << 40)  # recording of the rows that are scored, and of those that fill up a bank


def untraceable(config: ScorerConfig) -> list[str]:
    """What of a scorer has no such form, `name (reason)` each; nothing as a rule."""
    kinds: dict[str, Any] = {member.name: MEMBERS[member.name] for member in members_of(config)}
    return [f"{scorer_label(config)} ({kind.why_untraceable})" for kind in kinds.values() if kind.why_untraceable]


def traced(config: ScorerConfig, scorer: Scorer, classes: int) -> nn.Module:
    """(rows of one clip, their class (1,) int64) → scores (N,) float64. UserError where a class has no model, or
    another kind of model than the others."""
    label = scorer_label(config)
    if missing := set(range(classes)) - scorer.models.keys():
        raise UserError(f"scorer {label} knows no clip of class {min(missing)}: ONNX holds all machines")
    try:
        return TracedFused(scorer, classes) if isinstance(scorer, Fused) else TracedMember(_alone(scorer), classes)
    except _UnlikeError:
        raise UserError(f"ONNX cannot hold {label}: one machine's model has parts that another's lacks") from None


def _alone(scorer: Scorer) -> PerClassScorer[Any]:
    assert isinstance(scorer, PerClassScorer)
    return scorer


class TracedMember(nn.Module):
    """A scorer that stands alone."""

    def __init__(self, scorer: PerClassScorer[Any], classes: int) -> None:
        super().__init__()
        self._scorer = scorer
        self._models = Stack(scorer.traceable([scorer.models[own] for own in range(classes)]))

    def forward(self, rows: EmbeddingTable, own: Tensor) -> Tensor:
        return self._scorer.score_class(self._models(own), rows.only(self._scorer.reads, self._scorer.view))


class TracedFused(nn.Module):
    """Several on one scale."""

    centre: Tensor
    spread: Tensor

    def __init__(self, scorer: Fused, classes: int) -> None:
        super().__init__()
        self._scorer = scorer
        self._members = nn.ModuleList(TracedMember(member, classes) for member in scorer.members)
        for name in Scale._fields:
            self.register_buffer(name, torch.stack([getattr(scorer.scales[own], name) for own in range(classes)]))

    def forward(self, rows: EmbeddingTable, own: Tensor) -> Tensor:
        scores = torch.stack([member(rows, own) for member in self._members])
        return self._scorer.combined(
            scaled(scores, Scale(self.centre[own][0], self.spread[own][0])).T, rows.class_index
        )


class _UnlikeError(Exception):
    """Models that cannot be stacked."""


class Stack(nn.Module):
    """Models of C classes, alike but for their numbers of rows."""

    def __init__(self, models: Sequence[Any]) -> None:
        super().__init__()
        if isinstance(models[0], list):  # the nearest of several counts: one more of the same changes nothing
            longest = max(map(len, models))
            models = [[*model, *[model[0]] * (longest - len(model))] for model in models]
        self._first = models[0]
        columns = zip(*(list(_leaves(model)) for model in models), strict=True)
        self._names = []
        for place, leaves in enumerate(columns):
            self._names.append(f"part_{place}")
            self.register_buffer(self._names[-1], _stacked(leaves))

    def forward(self, own: Tensor) -> Any:
        """own: (1,) int64. The model of that class."""
        return _rebuilt(self._first, iter([getattr(self, name)[own][0] for name in self._names]))


def _leaves(model: Any) -> Iterator[Tensor | float | None]:
    """The tensors and numbers of a model, in order."""
    if isinstance(model, Tensor | float | int):
        yield model
    for part in _parts(model):
        yield from _leaves(part)


def _parts(model: Any) -> list[Any]:
    if isinstance(model, list | tuple):
        return list(model)
    return [getattr(model, field.name) for field in fields(model)] if is_dataclass(model) else []


def _rebuilt(like: Any, leaves: Iterator[Tensor]) -> Any:
    """A model of this form with other tensors and numbers."""
    if isinstance(like, Tensor | float | int):
        return next(leaves)
    parts = [_rebuilt(part, leaves) for part in _parts(like)]
    if is_dataclass(like) and not isinstance(like, type):
        return replace(like, **{field.name: part for field, part in zip(fields(like), parts, strict=True)})
    if isinstance(like, tuple):
        return type(like)(*parts)
    return parts if isinstance(like, list) else like


def _stacked(leaves: Sequence[Tensor | float]) -> Tensor:
    """(C, …): tensors filled up by zeros, and indices by `NOWHERE`; numbers as float64."""
    if not isinstance(leaves[0], Tensor):
        return torch.tensor(leaves, dtype=torch.float64)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim() == leaves[0].dim()]
    if len(tensors) < len(leaves):
        raise _UnlikeError
    shape = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    whole = tensors[0].new_full((len(tensors), *shape), 0 if tensors[0].is_floating_point() else NOWHERE)
    for row, tensor in zip(whole, tensors, strict=True):
        row[tuple(slice(size) for size in tensor.shape)] = tensor
    return whole
