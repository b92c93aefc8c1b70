"""Thresholds against SciPy's own fit, on scores of every sign, and where no gamma fits."""

from __future__ import annotations

import re

import numpy as np
import pydantic
import pytest
from scipy import stats

from asd.errors import UserError
from asd.metrics.thresholds import GammaConfig, PercentileConfig, Threshold, ThresholdConfig, decide, fit_threshold

CONFIG = pydantic.TypeAdapter(ThresholdConfig)


MACHINES = {
    "gamma": lambda random, n: random.gamma(3.0, 1.0, n),
    "lognormal": lambda random, n: random.lognormal(0.0, 1.0, n),
    "1 - p near 0": lambda random, n: random.beta(0.1, 5.0, n),
    "1 - p next to 0": lambda random, n: np.exp(-random.gamma(2.0, 20.0, n)),
    "1 - p near 1": lambda random, n: random.beta(5.0, 0.1, n),
    "log odds": lambda random, n: -random.gamma(4.0, 3.0, n),
    "two states": lambda random, n: np.where(random.random(n) < 0.85, random.normal(1, 0.1, n), random.normal(5, 1, n)),
    "ties": lambda random, n: np.round(random.gamma(2.0, 1.0, n)),
    "outliers": lambda random, n: random.pareto(1.0, n),
}
# Cosine distances of 40 normal clips of one machine to their nearest neighbour: the threshold was 0.97.
DISTANCES = """69 69 70 70 73 83 93 94 94 94 101 101 104 105 109 110 112 112 122 122 123 124 124 127 132 132 134 137 138
141 144 149 186 206 222 223 224 231 237 420"""


@pytest.mark.parametrize("shift", [0.0, -7.0, 3000.0])
def test_gamma_is_the_official_baselines(shift):
    scores = np.random.default_rng(0).gamma(3.0, 0.5, 990)
    official = stats.gamma(*stats.gamma.fit(scores)).ppf(0.9)
    found = fit_threshold(scores + shift, GammaConfig())
    assert found == Threshold(
        pytest.approx(official + shift, abs=0.01 * scores.std()), "gamma", "", found.clips, found.clips
    )
    truth = stats.gamma(3.0, shift, 0.5).ppf(0.9)
    assert found.value == pytest.approx(truth, abs=0.1)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("count", [8, 60])
def test_scores_on_another_scale_have_the_threshold_there(machine, count):
    scores = MACHINES[machine](np.random.default_rng(5), count)
    plain = fit_threshold(scores, GammaConfig())
    for scale in (1e-9, 1e-3, 7.0, 1e9):
        for shift in (0.0, -3.0 * scores.std(), 1000.0 * scores.std()):
            found = fit_threshold(scale * (scores + shift), GammaConfig())
            assert found.rule == plain.rule
            assert found.value / scale - shift == pytest.approx(plain.value, rel=1e-9, abs=1e-6 * scores.std())


@pytest.mark.parametrize("scale", [1e-5, 1.0])
def test_small_distances_have_a_threshold_that_clips_reach(scale):
    scores = scale * np.array(list(map(float, DISTANCES.split())))
    found = fit_threshold(scores, GammaConfig())
    assert found.rule == "gamma"
    assert np.mean(scores > found.value) == pytest.approx(0.1, abs=0.1)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("count", "percent"), [(7, 90.0), (25, 90.0), (40, 90.0), (200, 99.0), (700, 90.0)])
def test_no_threshold_lies_where_sampling_explains_none(machine, count, percent):
    random = np.random.default_rng(6)
    for _ in range(3):
        scores = MACHINES[machine](random, count) * 1e-3
        found = fit_threshold(scores, GammaConfig(percent=percent))
        least, most = stats.binom.interval(0.95, count, 1 - percent / 100)
        above = np.sum(scores > found.value)
        assert above <= most
        assert above >= least or np.sum(scores >= found.value) >= least  # ties
        assert found.value <= scores.max() + 0.5 * np.ptp(scores)
        assert (found.rule == "percentile") == bool(found.reason)
        if found.rule == "percentile":
            assert found.value == np.percentile(scores, percent)


def test_a_fit_that_misses_is_replaced_and_the_reason_is_said():
    scores = MACHINES["two states"](np.random.default_rng(0), 300)
    found = fit_threshold(scores, GammaConfig(percent=95.0))
    assert found.value == np.percentile(scores, 95)
    said = r"no gamma distribution fits the scores: (\d+) of 300 lie above the 95 % point of the nearest one, where "
    match = re.fullmatch(said + r"(\d+) to (\d+) are expected", found.reason)
    assert match is not None, found
    above, least, most = map(int, match.groups())
    assert (least, most) == stats.binom.interval(0.95, 300, 0.05)
    assert not least <= above <= most


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_too_few_scores_for_a_fit(count):
    scores = np.arange(count) ** 2.0 - 3.0
    found = fit_threshold(scores, GammaConfig())
    reason = f"{count} scores are too few to fit a gamma distribution to"
    assert found == Threshold(float(np.percentile(scores, 90)), "percentile", reason, found.clips, found.clips)


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0])
def test_gamma_leaves_its_percent_of_new_clips_below(percent):
    random = np.random.default_rng(1)
    value = fit_threshold(random.normal(-5.0, 0.1, 2000), GammaConfig(percent=percent)).value
    assert np.mean(random.normal(-5.0, 0.1, 20000) <= value) == pytest.approx(percent / 100, abs=0.02)


def test_percentile_is_numpys():
    scores = np.random.default_rng(2).normal(size=101)
    found = fit_threshold(scores, PercentileConfig(percent=75.0))
    assert found == Threshold(float(np.quantile(scores, 0.75)), "percentile", "", found.clips, found.clips)


@pytest.mark.parametrize("scores", [[0.25] * 7, [-1.0] * 6, [1e-300] * 9])
def test_scores_that_do_not_differ_are_their_own_threshold(scores):
    found = fit_threshold(scores, GammaConfig())
    assert found == Threshold(scores[0], "percentile", "the scores do not differ", found.clips, found.clips)
    assert decide(scores, found.value).sum() == 0


def test_a_tail_too_heavy_for_a_gamma_takes_the_percentile():
    scores = np.exp(np.random.default_rng(0).normal(0.0, 3.0, 1000))
    assert np.mean(scores <= stats.gamma(*stats.gamma.fit(scores)).ppf(0.9)) < 0.5, "no such case any more"
    found = fit_threshold(scores, GammaConfig())
    assert (found.value, found.rule) == (np.quantile(scores, 0.9), "percentile")


@pytest.mark.parametrize("count", [10, 20, 30])
def test_scores_next_to_their_bound_have_a_threshold_below_it(count):
    random = np.random.default_rng(1)
    for _ in range(10):
        scores = random.beta(20.0, 0.5, count)  # 1 - p of a network that does not tell the machines apart
        assert fit_threshold(scores, GammaConfig()).value <= scores.max() < 1


def test_few_recordings_leave_a_gamma_its_point_above_all_scores():
    scores = np.repeat([0.90, 0.93, 0.95, 0.97, 0.98], 4) + np.linspace(0, 0.01, 20)
    beyond = fit_threshold(scores, GammaConfig(), recording=[*range(5)] * 4)
    assert beyond.rule == "gamma"
    assert beyond.value > scores.max()
    assert fit_threshold(scores, GammaConfig(), recording=[*range(10)] * 2).value == scores.max()


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [1.0, float("inf")]])
@pytest.mark.parametrize("config", [GammaConfig(), PercentileConfig()])
def test_scores_must_be_there_and_finite(scores, config):
    with pytest.raises(UserError, match=f"{len(scores)} given, {len(scores) and 1} of them finite"):
        fit_threshold(scores, config)


def test_only_above_the_threshold_is_an_anomaly():
    decided = decide([0.1, 0.5, 0.5000001], 0.5)
    assert decided.tolist() == [0, 0, 1]
    assert decided.dtype == np.int64


def test_configs_are_told_apart_by_name_and_bounded():
    assert CONFIG.validate_python({"name": "gamma"}) == GammaConfig(percent=90.0)
    assert CONFIG.validate_python({"name": "percentile", "percent": 95}) == PercentileConfig(percent=95.0)
    for wrong in ({"name": "otsu"}, {"name": "gamma", "percent": 100}, {"name": "gamma", "quantile": 0.9}):
        with pytest.raises(pydantic.ValidationError):
            CONFIG.validate_python(wrong)
    with pytest.raises(pydantic.ValidationError):
        GammaConfig().percent = 50.0
