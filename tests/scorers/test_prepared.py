"""A prepared scorer says the same to the bit, and has done what is the same at every call."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asd.scorers import FusedConfig, MahalanobisConfig, ScorerConfig, build_scorer, scorer_label
from asd.scorers.base import Scorer
from asd.scorers.covariance import Covariance
from asd.scorers.members import MEMBERS
from tests.support.detectors import CONFIG
from tests.support.embedded import embedded_of
from tests.support.scored import TEST, TRAIN, random_clips

SEVERAL = (
    MahalanobisConfig(space="raw", per="domain"),
    FusedConfig(),
    FusedConfig(members=(MahalanobisConfig(shrinkage=0.5), MahalanobisConfig(space="raw"))),
)
CONFIGS: tuple[ScorerConfig, ...] = (*(CONFIG.validate_python({"name": name}) for name in MEMBERS), *SEVERAL)


def prepared(config: ScorerConfig) -> Scorer:
    scorer = build_scorer(config)
    scorer.fit(TRAIN)
    scorer.prepare()
    return scorer


@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_scores_are_the_same_to_the_bit(config: ScorerConfig) -> None:
    scorer = build_scorer(config)
    scorer.fit(TRAIN)
    of_one_class = TEST.select(TEST.class_index == TEST.class_index[0])
    before = [scorer.score(clips) for clips in (TEST, of_one_class)]
    scorer.prepare()
    for clips, scores in zip((TEST, of_one_class), before, strict=True):
        np.testing.assert_array_equal(scorer.score(clips), scores)


@pytest.mark.parametrize("config", [MahalanobisConfig(), *SEVERAL], ids=scorer_label)
def test_no_covariance_is_factorised_any_more(config: ScorerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = prepared(config)
    monkeypatch.delattr(Covariance, "of")
    assert np.isfinite(scorer.score(TEST)).all()


def test_equal_training_clips_have_no_covariance() -> None:
    equal = embedded_of(torch.tensor([[3.0, 4.0]] * 3))
    scorer = build_scorer(MahalanobisConfig(space="raw"))
    scorer.fit(equal)
    scorer.prepare()
    np.testing.assert_allclose(scorer.score(embedded_of(torch.tensor([[6.0, 8.0]]))), [5.0])


@pytest.mark.parametrize("config", [MahalanobisConfig(), *SEVERAL], ids=scorer_label)
def test_a_fit_replaces_what_was_prepared(config: ScorerConfig) -> None:
    other, scorer = random_clips(30, 5), prepared(config)
    scorer.fit(other)
    fresh = build_scorer(config)
    fresh.fit(other)
    np.testing.assert_array_equal(scorer.score(TEST), fresh.score(TEST))
