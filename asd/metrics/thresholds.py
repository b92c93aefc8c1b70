"""From the scores of normal clips to the threshold above which a clip is called an anomaly.

N normal clips of one machine. A clip is anomalous where score > threshold, as in the official baselines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pydantic
from numpy.typing import ArrayLike, NDArray

from asd.errors import UserError

# A fit that puts another share of its own scores below the threshold than asked, by more than this, has failed.
MAX_SHARE_ERROR = 0.25


class GammaConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """The point that `percent` of a gamma distribution fitted to the scores lies below."""

    name: Literal["gamma"] = "gamma"
    percent: float = pydantic.Field(default=90.0, gt=0.0, lt=100.0)


class PercentileConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """The point that `percent` of the scores lie below, interpolated between neighbours."""

    name: Literal["percentile"] = "percentile"
    percent: float = pydantic.Field(default=90.0, gt=0.0, lt=100.0)


ThresholdConfig = Annotated[GammaConfig | PercentileConfig, pydantic.Field(discriminator="name")]


@dataclass(frozen=True)
class Threshold:
    """A threshold on the scale of the scores, and the rule that gave it (`percentile` where no gamma would fit)."""

    value: float
    rule: Literal["gamma", "percentile"]


def fit_threshold(normal_scores: ArrayLike, config: GammaConfig | PercentileConfig) -> Threshold:
    """The threshold of normal clips' scores (N,), higher = more anomalous, of any sign.

    `gamma` is fitted by maximum likelihood with shape, location and scale free, as the official baselines of 2021 and
    2023 do: the location shifts the distribution, so scores below zero need no shift of their own. Where the scores
    do not differ, or the fit leaves their range (the likelihood has no maximum for some heavy tails: the density grows
    without bound at the smallest score), the percentile of the scores stands in, and `rule` says so.
    Raises UserError where there is no score or one is not finite.
    """
    scores = np.asarray(normal_scores, dtype=np.float64).ravel()
    if not scores.size or not np.isfinite(scores).all():
        raise UserError(f"a threshold needs finite scores of normal clips: {scores.size} given, "
                        f"{int(np.isfinite(scores).sum())} of them finite")  # fmt: skip
    if config.name == "gamma":
        value = _gamma_point(scores, config.percent / 100)
        if abs(np.mean(scores <= value) - config.percent / 100) <= MAX_SHARE_ERROR:
            return Threshold(value, "gamma")
    return Threshold(float(np.percentile(scores, config.percent)), "percentile")


def decide(scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """(N,) 1 where a score lies above the threshold, else 0."""
    return (np.asarray(scores, dtype=np.float64) > threshold).astype(np.int64)


def _gamma_point(scores: NDArray[np.float64], share: float) -> float:
    """The fitted distribution's point below which `share` of it lies; nan where there is no fit."""
    from scipy import stats  # here: half a second to import, and training never fits a threshold

    if scores.min() == scores.max():
        return math.nan
    try:
        with np.errstate(all="ignore"):  # the optimiser tries parameters out of range
            shape, location, scale = stats.gamma.fit(scores)
            return float(stats.gamma.ppf(share, shape, loc=location, scale=scale))
    except stats.FitError:
        return math.nan
