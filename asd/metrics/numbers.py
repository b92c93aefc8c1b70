"""Metrics by key in a JSON object that has other fields as well."""

from __future__ import annotations

import math
from typing import Annotated, Any

import pydantic


def known(value: Any) -> Any:
    """nan is not JSON: None in its place."""
    return None if isinstance(value, float) and math.isnan(value) else value


Value = Annotated[float | None, pydantic.BeforeValidator(known)]  # None: it cannot be computed


class Numbers(pydantic.BaseModel, extra="allow", frozen=True):
    """Numbers by key, as in `numbers["auc"]`: which there are is up to asd.metrics.METRICS."""

    __pydantic_extra__: dict[str, Value]

    @property
    def numbers(self) -> dict[str, float | None]:
        return self.__pydantic_extra__

    def __getitem__(self, key: str) -> float | None:
        """None where it cannot be computed, or the version that wrote it had no such metric."""
        return self.numbers.get(key)

    @pydantic.model_serializer(mode="wrap")
    def _metrics_first(self, handler: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree = handler(self)
        return {key: tree[key] for key in (*self.numbers, *tree)}
