"""What a fitted scorer knows, as plain values and tensors that a file can hold, and the scorer from these again.

Every scorer keeps one model per class and names its type, `PerClassScorer[Mixture]`: pydantic takes models apart and
puts them together by that type. So no scorer has code of its own for it, and what does not fit is refused.
"""

from __future__ import annotations

import typing
from functools import cache
from types import GenericAlias
from typing import Any

import pydantic

from asd.scorers import SCORERS, Scorer, ScorerConfig, build_scorer
from asd.scorers.base import PerClassScorer

State = dict[int, Any]  # class → its model: tensors, numbers, None, and lists, tuples and dicts of them


def state_of(scorer: Scorer) -> State:
    """What `fit` has learnt; the tensors are the scorer's own."""
    assert isinstance(scorer, PerClassScorer)
    state: State = _adapter(type(scorer)).dump_python(scorer.models)
    return state


def restored(config: ScorerConfig, state: object) -> Scorer:
    """A fitted scorer from its config and its state. Raises pydantic.ValidationError where they do not fit."""
    scorer = build_scorer(config)
    assert isinstance(scorer, PerClassScorer)
    scorer.models = _adapter(SCORERS[config.name]).validate_python(state)
    return scorer


@cache
def _adapter(kind: Any) -> pydantic.TypeAdapter[State]:
    """Of the models of a scorer's class, by class index."""
    base = next(base for base in kind.__orig_bases__ if typing.get_origin(base) is PerClassScorer)
    (model,) = typing.get_args(base)
    models: Any = GenericAlias(dict, (int, model))
    tensors = pydantic.ConfigDict(arbitrary_types_allowed=True)  # a Tensor is looked at by its type alone
    return pydantic.TypeAdapter(models, config=tensors)
