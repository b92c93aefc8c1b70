"""From the scores of normal clips to the threshold above which a clip is called an anomaly.

N normal clips of one machine. A clip is anomalous where score > threshold, as in the official baselines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pydantic
from numpy.typing import ArrayLike, NDArray

from asd.errors import UserError
from asd.metrics.false_alarms import FalseAlarmsConfig, budget_threshold

MIN_SCORES = 6  # three numbers are fitted, and up to five scores fit any distribution (1 of 2 lie below its median)
CONFIDENCE = 0.95  # of the interval of shares that sampling explains
DIGITS = 6  # of unit scores that the fit sees: the same scores on another scale differ by rounding alone


class ShareConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Base of the rules that go by a share of normal clips."""

    # of normal clips that are to score below the threshold
    percent: float = pydantic.Field(default=90.0, gt=0.0, lt=100.0)

    @property
    def recordings_needed(self) -> int:
        """So many that one recording is expected above the point that `percent` of them lie below."""
        return math.ceil(100.0 / (100.0 - self.percent) - 1e-9)

    def may_be_above(self, clips: int) -> int:
        """Of so many normal clips."""
        return math.floor(clips * (1 - self.percent / 100) + 1e-9)

    @property
    def purpose(self) -> str:
        return f"to have {100 - self.percent:g} % of normal clips above it"


class GammaConfig(ShareConfig, frozen=True):
    """The point that `percent` of a gamma distribution fitted to the scores lies below."""

    name: Literal["gamma"] = "gamma"


class PercentileConfig(ShareConfig, frozen=True):
    """The point that `percent` of the scores lie below, interpolated between neighbours."""

    name: Literal["percentile"] = "percentile"


AnyThreshold = GammaConfig | PercentileConfig | FalseAlarmsConfig
ThresholdConfig = Annotated[AnyThreshold, pydantic.Field(discriminator="name")]


@dataclass(frozen=True)
class Threshold:
    """A threshold on the scale of the scores, the rule that gave it, and why that is not the rule that was asked for.

    reason: `percentile` where a gamma was asked for and does not fit, in words; of `false_alarms`, what is to be
    expected; else empty. clips, recordings: that it was fitted to.
    """

    value: float
    rule: Literal["gamma", "percentile", "false_alarms"]
    reason: str = ""
    clips: int = 0
    recordings: int = 0


def fit_threshold(
    normal_scores: ArrayLike, config: AnyThreshold, recording: Sequence[object] | None = None
) -> Threshold:
    """The threshold of normal clips' scores (N,), higher = more anomalous, of any sign and on any scale.

    `gamma` is fitted by maximum likelihood with shape, location and scale free, as the official baselines of 2021 and
    2023 do, but to scores of spread 1: scipy's search stops at absolute tolerances, and on scores of 1e-3 it stopped
    anywhere. So a·scores + b have the threshold a·threshold + b, a > 0. Where the scores are too few, do not differ, or
    lie around the fit as no sample of it would (heavy tails, 1 - p near 0), the percentile of the scores stands in.
    recording: that each clip is of; None: each is one of its own. Where there are so many that one is expected above
    the point, a fit's point is at most the largest score: of scores next to their bound (1 - p near 1) it may lie where
    no clip can ever come.
    Raises UserError where there is no score or one is not finite, TooFewNormalsError where `false_alarms` needs more.
    """
    scores = np.asarray(normal_scores, dtype=np.float64).ravel()
    if not scores.size or not np.isfinite(scores).all():
        raise UserError(f"a threshold needs finite scores of normal clips: {scores.size} given, "
                        f"{int(np.isfinite(scores).sum())} of them finite")  # fmt: skip
    recordings = len(scores if recording is None else set(recording))
    if isinstance(config, FalseAlarmsConfig):
        value, expected = budget_threshold(scores, config, recording)
        return Threshold(value, "false_alarms", expected, len(scores), recordings)
    reason = ""
    if config.name == "gamma":
        fitted = _gamma_point(scores, config.percent)
        if isinstance(fitted, float):
            enough = recordings >= config.recordings_needed
            value = min(fitted, float(scores.max())) if enough else fitted
            return Threshold(value, "gamma", "", len(scores), recordings)
        reason = fitted
    return Threshold(float(np.percentile(scores, config.percent)), "percentile", reason, len(scores), recordings)


def decide(scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """(N,) 1 where a score lies above the threshold, else 0."""
    return (np.asarray(scores, dtype=np.float64) > threshold).astype(np.int64)


def _gamma_point(scores: NDArray[np.float64], percent: float) -> float | str:
    """The point below which `percent` of the fitted distribution lie; in words, why there is none."""
    from scipy import stats  # here: half a second to import, and training never fits a threshold

    if len(scores) < MIN_SCORES:
        return f"{len(scores)} scores are too few to fit a gamma distribution to"
    low, spread = scores.min(), np.ptp(scores)
    if not 0 < spread < np.inf:
        return "the scores do not differ"
    unit = (scores - low) / spread
    spread, unit = spread * unit.std(), np.round(unit / unit.std(), DIGITS)
    try:
        with np.errstate(all="ignore"):  # the optimiser tries parameters out of range
            fit = stats.gamma(*stats.gamma.fit(unit))
            median, point = fit.ppf([0.5, percent / 100])
    except stats.FitError:
        return "no gamma distribution can be fitted to the scores"
    reason = _misfit(unit, f"{percent:g} % point", point, 1 - percent / 100)
    if not reason and not np.any(unit > point):  # any point above all scores would do: it must not be just anywhere
        reason = _misfit(unit, "median", median, 0.5)
    return reason or float(low + point * spread)


def _misfit(scores: NDArray[np.float64], name: str, point: float, share: float) -> str:
    """In words, that more or fewer of the scores lie above a fit's point than sampling explains; empty where not."""
    from scipy import stats

    above = int(np.sum(scores > point))
    least, most = stats.binom.interval(CONFIDENCE, len(scores), share)
    if least <= above <= most:
        return ""
    return (
        f"no gamma distribution fits the scores: {above} of {len(scores)} lie above the {name} of the nearest one, "
        f"where {least:.0f} to {most:.0f} are expected"
    )
