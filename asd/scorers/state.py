"""The state of a fitted scorer as plain values and tensors, and the scorer from that state.

Every scorer keeps one model per class and names its type, `PerClassScorer[Mixture]`: pydantic takes models apart and
puts them together by that type. So no scorer has code of its own for it, and what does not fit is refused. A model of
`fused` is a tuple of its members' models, their scale and, where it has trained members, what these count.
"""

from __future__ import annotations

import typing
from functools import cache
from types import GenericAlias
from typing import Any

import pydantic

from asd.scorers import FusedConfig, Scorer, ScorerConfig, build_scorer
from asd.scorers.base import PerClassScorer
from asd.scorers.members import MEMBERS
from asd.scorers.scale import Scale

State = dict[int, Any]  # class → its model: tensors, numbers, None, and lists, tuples and dicts of them


def state_of(config: ScorerConfig, scorer: Scorer) -> State:
    """What `fit` has taught the scorer of a config; the tensors are the scorer's own."""
    state: State = _adapter(config).dump_python(scorer.models)
    return state


def restored(config: ScorerConfig, state: object) -> Scorer:
    """A fitted scorer from its config and its state. Raises pydantic.ValidationError where they do not fit."""
    scorer = build_scorer(config)
    scorer.models = _adapter(config).validate_python(state)
    return scorer


@cache
def _adapter(config: ScorerConfig) -> pydantic.TypeAdapter[State]:
    """Of the models of a scorer, by class index."""
    model: Any = _model_of(config)
    models: Any = GenericAlias(dict, (int, model))
    tensors = pydantic.ConfigDict(arbitrary_types_allowed=True)  # a Tensor is looked at by its type alone
    return pydantic.TypeAdapter(models, config=tensors)


def _model_of(config: ScorerConfig) -> Any:
    if isinstance(config, FusedConfig):
        share = (float,) if config.trained else ()
        return GenericAlias(tuple, (GenericAlias(tuple, tuple(map(_model_of, config.expanded()))), Scale, *share))
    kind: Any = MEMBERS[config.name]
    base = next(base for base in kind.__orig_bases__ if typing.get_origin(base) is PerClassScorer)
    (model,) = typing.get_args(base)
    return model
