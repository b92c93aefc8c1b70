"""Thresholds against SciPy's own fit, on scores of every sign, and where no gamma fits."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
from scipy import stats

from asd.errors import UserError
from asd.metrics.thresholds import GammaConfig, PercentileConfig, Threshold, ThresholdConfig, decide, fit_threshold

CONFIG = pydantic.TypeAdapter(ThresholdConfig)


@pytest.mark.parametrize("shift", [0.0, -7.0, 3000.0])
def test_gamma_is_the_official_baselines(shift):
    scores = np.random.default_rng(0).gamma(3.0, 0.5, 990) + shift
    shape, location, scale = stats.gamma.fit(scores)
    found = fit_threshold(scores, GammaConfig())
    assert found == Threshold(pytest.approx(stats.gamma(shape, location, scale).ppf(0.9), rel=1e-12), "gamma")
    truth = stats.gamma(3.0, shift, 0.5).ppf(0.9)
    assert found.value == pytest.approx(truth, abs=0.1)


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0])
def test_gamma_leaves_its_percent_of_new_clips_below(percent):
    random = np.random.default_rng(1)
    value = fit_threshold(random.normal(-5.0, 0.1, 2000), GammaConfig(percent=percent)).value
    assert np.mean(random.normal(-5.0, 0.1, 20000) <= value) == pytest.approx(percent / 100, abs=0.02)


def test_percentile_is_numpys():
    scores = np.random.default_rng(2).normal(size=101)
    found = fit_threshold(scores, PercentileConfig(percent=75.0))
    assert found == Threshold(float(np.quantile(scores, 0.75)), "percentile")


@pytest.mark.parametrize("scores", [[0.25] * 7, [-1.0]])
def test_scores_that_do_not_differ_are_their_own_threshold(scores):
    found = fit_threshold(scores, GammaConfig())
    assert found == Threshold(scores[0], "percentile")
    assert decide(scores, found.value).sum() == 0


def test_a_tail_too_heavy_for_a_gamma_takes_the_percentile():
    scores = np.exp(np.random.default_rng(0).normal(0.0, 3.0, 1000))
    assert np.mean(scores <= stats.gamma(*stats.gamma.fit(scores)).ppf(0.9)) < 0.5, "no such case any more"
    found = fit_threshold(scores, GammaConfig())
    assert found == Threshold(float(np.quantile(scores, 0.9)), "percentile")


def test_few_clips_have_a_threshold():
    assert np.isfinite(fit_threshold([1.0, 2.0], GammaConfig()).value)
    assert np.isfinite(fit_threshold([1.0, 2.0, 2.5], GammaConfig()).value)


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
