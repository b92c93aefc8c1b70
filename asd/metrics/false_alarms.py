"""Thresholds from a budget of false alarms: so many an hour, a day or a week, of so many decisions.

n normal clips of one machine. p: share of normal windows that score above the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from asd.errors import UserError

AT_MOST = r"[0-9]{1,6}(\.[0-9]{1,6})?/(hour|day|week)"
UNITS = {"hour": 3600.0, "day": 86_400.0, "week": 604_800.0}
RAREST = 1e-9  # alarms a window: once in ten years of three windows a second
CONFIDENCE = 0.95  # of intervals
BEYOND = 10.0  # times as rare as once in all normal clips: as far as a fitted tail is believed
MIN_TAIL_CLIPS, TAIL_SHARE, MIN_TAIL = 100, 0.1, 20  # normal clips to fit a tail to, and those that are the tail
RULES = ((1, 1), (2, 3), (3, 5), (4, 7), (5, 9))  # hits of decisions that a refusal may propose


class TooFewNormalsError(UserError):
    """The normal clips do not support the budget; it says how many it takes."""


class FalseAlarmsConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """So few false alarms that a person stays willing to look: an alarm begins where `hits` of the last `of` windows
    score above the threshold, one window every `every_s`, and ends where none of them does. Windows are taken as
    independent of each other; how many alarms there may be where they are not is stated beside that."""

    name: Literal["false_alarms"] = "false_alarms"
    at_most: str = pydantic.Field(pattern=f"^{AT_MOST}$")  # such as 1/day
    every_s: float = pydantic.Field(gt=0.0, le=86_400.0)  # from the beginning of a window to that of the next
    hits: pydantic.PositiveInt = 1  # windows above the threshold that make an alarm
    of: int = pydantic.Field(default=1, ge=1, le=1000)  # of the last so many windows

    @pydantic.model_validator(mode="after")
    def _can_be_met(self) -> FalseAlarmsConfig:
        if self.hits > self.of:
            raise ValueError(f"hits={self.hits} is more than of={self.of}")
        most = most_per_window(self.hits, self.of)
        if not RAREST <= self.per_window < most:
            low, high = (_two_digits(each * UNITS[self.unit] / self.every_s) for each in (RAREST, most))
            raise ValueError(
                f"at_most={self.at_most} is no budget of {self.in_words}: give from {low} to below {high} per "
                f"{self.unit}"
            )
        return self

    @property
    def in_words(self) -> str:
        when = "each window" if self.of == 1 else f"{self.hits} of {self.of} windows"
        return f"{when}, one every {self.every_s:g} s"

    @property
    def unit(self) -> str:
        return self.at_most.partition("/")[2]

    @property
    def per_window(self) -> float:
        """Alarms that may begin, for each window."""
        return float(self.at_most.partition("/")[0]) * self.every_s / UNITS[self.unit]

    @property
    def recordings_needed(self) -> int:
        """So many that what differs from recording to recording has been seen at all."""
        return 10

    def may_be_above(self, clips: int) -> int:
        """Of so many independent normal clips."""
        return math.floor(self.share() * (clips + 1) + 1e-9)

    @property
    def purpose(self) -> str:
        return f"for at most {self.at_most} false alarms"

    def share(self) -> float:
        """p at which as many alarms begin as there may."""
        from scipy.optimize import brentq

        top = most_common(self.hits, self.of)
        return float(brentq(lambda p: alarms_per_window(p, self.hits, self.of) - self.per_window, 0.0, top))

    def rate(self, share: float) -> float:
        """Alarms per unit of time at p; beyond the share at which they are most common, as many as there."""
        per_window = alarms_per_window(min(share, most_common(self.hits, self.of)), self.hits, self.of)
        return per_window * UNITS[self.unit] / self.every_s

    def rate_at_most(self, share: float) -> float:
        """Alarms per unit of time at p, however neighbouring windows depend on each other: between two alarms all
        windows count anew, so each of them takes `hits` windows above the threshold of its own."""
        return share / self.hits * UNITS[self.unit] / self.every_s


def alarms_per_window(p: float, hits: int, of: int) -> float:
    """Alarms that begin, for each of independent windows: one that hits, `hits - 1` among the `of - 1` before it, and
    none at the one that is no longer counted."""
    return math.comb(of - 1, hits - 1) * p**hits * (1 - p) ** (of - hits + 1)


def most_common(hits: int, of: int) -> float:
    """p at which most alarms begin: with more, they do not end any more."""
    return hits / (of + 1)


def budget_threshold(
    normal_scores: NDArray[np.float64], config: FalseAlarmsConfig, recording: Sequence[object] | None = None
) -> tuple[float, str]:
    """The threshold of normal clips' scores (n,), and what is to be expected of it, in words.

    The k-th largest of n scores has a share of k/(n + 1) of new ones above it, whatever their distribution; that share
    is Beta(k, n + 1 - k), of which the words give the middle 95 % as alarms (the Clopper-Pearson interval). Where p is
    rarer than once in n, a generalised Pareto distribution of the largest tenth of the scores goes on (Pickands 1975:
    the limit of every smooth tail; a gamma distribution of all scores is fitted where most of them lie, and says little
    of the rarest), with a shape of 0 at least, since a tail that ends at a highest score would be a promise that no new
    clip ever exceeds it. For 1 in 1000 by 300 clips the mean true share was 0.6 in 1000 (normal scores), 1.2
    (exponential) and 2.6 (log-normal). Beyond the largest score no data speaks: the interval is that of the largest.

    recording: of each clip. Clips of a recording are alike, so n is then what as many independent ones would be worth:
    n / (1 + (m - 1)·ICC) by the mean size m of recordings (Kish 1965; Korn and Graubard 1998).
    Raises TooFewNormalsError where p is rarer than that supports.
    """
    worth = len(normal_scores) / design_effect(normal_scores, recording)
    scores = np.sort(normal_scores)[::-1]
    share = config.share()
    count = math.floor(share * (worth + 1) + 1e-9)
    if count >= 1:
        place = max(math.floor(count * (len(scores) + 1) / (worth + 1) + 1e-9), 1)
        return float(scores[place - 1]), _expected(config, count / (worth + 1), _interval(count, worth), "")
    if worth < MIN_TAIL_CLIPS or share * BEYOND * (worth + 1) < 1:
        raise TooFewNormalsError(_refusal(config, worth, len(scores)))
    where = ", by a generalised Pareto tail beyond the largest score"
    return _tail_point(scores, share), _expected(config, share, (0.0, _interval(1, worth)[1]), where)


def design_effect(scores: NDArray[np.float64], recording: Sequence[object] | None) -> float:
    """How many clips are worth one independent clip, at least 1, by the intraclass correlation of recordings (analysis
    of variance); 1 of a single recording, of which it is not known."""
    if recording is None:
        return 1.0
    _, own, sizes = np.unique([str(name) for name in recording], return_inverse=True, return_counts=True)
    clips, groups = len(scores), len(sizes)
    if groups in (1, clips):
        return 1.0
    means = np.bincount(own, scores) / sizes
    within = float(np.sum((scores - means[own]) ** 2)) / (clips - groups)
    between = float(np.sum(sizes * (means - scores.mean()) ** 2)) / (groups - 1)
    size = (clips - np.sum(sizes**2) / clips) / (groups - 1)
    total = between + (size - 1) * within
    correlation = max((between - within) / total, 0.0) if total > 0 else 0.0
    return float(1 + (np.sum(sizes**2) / clips - 1) * correlation)


def most_per_window(hits: int, of: int) -> float:
    """Alarms that begin where they are most common."""
    return alarms_per_window(most_common(hits, of), hits, of)


def clips_needed(config: FalseAlarmsConfig) -> int:
    """The fewest independent normal clips that support the budget."""
    share = config.share()
    by_rank = math.ceil(1 / share - 1 - 1e-9)
    return min(by_rank, max(MIN_TAIL_CLIPS, math.ceil(1 / (BEYOND * share) - 1 - 1e-9)))


def _tail_point(scores: NDArray[np.float64], share: float) -> float:
    """The point that a share of new scores exceeds; scores (n,) descending, in the unit of their tail."""
    from scipy import stats

    count = max(MIN_TAIL, round(TAIL_SHARE * len(scores)))
    begin = scores[count]
    beyond = scores[:count] - begin
    unit = float(beyond.mean())
    if unit <= 0:
        return float(scores[0])
    shape, _, scale = stats.genpareto.fit(beyond / unit, floc=0.0)
    if shape < 0:
        shape, scale = 0.0, 1.0  # exponential: its mean
    point = begin + unit * float(stats.genpareto.isf(share * len(scores) / count, shape, 0.0, scale))
    return max(point, float(scores[0]))


def _interval(count: float, worth: float) -> tuple[float, float]:
    from scipy import stats

    low, high = stats.beta.interval(CONFIDENCE, count, worth + 1 - count)
    return float(low), float(high)


def _expected(config: FalseAlarmsConfig, share: float, interval: tuple[float, float], where: str) -> str:
    rate, low, high = (_two_digits(config.rate(p)) for p in (share, *interval))
    return (
        f"for at most {config.at_most} false alarms, {config.in_words}: {rate} per {config.unit} expected, "
        f"{low} to {high} by how few normal clips there are ({CONFIDENCE:.0%}), if windows are independent{where}; "
        f"{_two_digits(config.rate_at_most(share))} at most if neighbours are alike"
    )


def _two_digits(rate: float) -> str:
    return f"{rate:.2g}" if rate < 99.5 else f"{float(f'{rate:.2g}'):.0f}"


def _refusal(config: FalseAlarmsConfig, worth: float, clips: int) -> str:
    there = f"{clips} normal clips are there"
    there += f", worth {math.floor(worth)} independent ones" if worth < clips - 0.5 else ""
    others = [
        config.model_copy(update={"hits": hits, "of": of})
        for hits, of in RULES
        if of > config.of and config.per_window < most_per_window(hits, of)  # by others, fewer alarms begin than may
    ]
    able = next((own for own in others if clips_needed(own) <= worth), None)
    needed = f"{config.at_most} false alarms, {config.in_words}, needs {clips_needed(config)} normal clips: {there}"
    supported = _supported(config, worth)
    return (
        needed
        + (f", enough for {supported}" if supported else "")
        + (f"; {able.hits} of {able.of} windows need {clips_needed(able)}" if able else "")
    )


def _supported(config: FalseAlarmsConfig, worth: float) -> str | None:
    """The smallest budget, in two digits, that so many independent clips support by the same rule."""
    rarest = 1 / (worth + 1) / (BEYOND if worth >= MIN_TAIL_CLIPS else 1.0)
    if rarest >= most_common(config.hits, config.of):
        return None
    rate = config.rate(rarest)
    digits = min(max(1 - math.floor(math.log10(rate)), 0), 6)  # behind the point: no budget has more
    unit = 10.0 ** max(math.floor(math.log10(rate)) - 1, -digits)
    return f"{math.ceil(rate / unit) * unit:.{digits}f}/{config.unit}"
