"""`matched_filter`: the formula by scikit-learn's shrunk covariance, classes without known faults, and its part in
`fused`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pydantic
import pytest
import torch
from sklearn.covariance import LedoitWolf

from asd.scorers import (
    EmbeddingTable,
    FusedConfig,
    KnnConfig,
    MahalanobisConfig,
    MatchedFilterConfig,
    build_scorer,
    learns_from_faults,
    scorer_label,
)
from asd.scorers.state import restored, state_of
from tests.support.scored import TEST, TRAIN, fitted_scores, one_class, others, random_clips, recorded

FILTER = MatchedFilterConfig()
FAULTS = random_clips(20, 7).select(torch.arange(20))
FAULTS = FAULTS.select(FAULTS.class_index != 1)  # the class 1 has none
TOLD = dataclasses.replace(TRAIN, known_faults=FAULTS)
MEMBERS = (KnnConfig(), MahalanobisConfig(space="raw"))


def with_faults(normal: EmbeddingTable, faults: torch.Tensor) -> EmbeddingTable:
    return dataclasses.replace(normal, known_faults=one_class(faults, first=2_000_000))


@pytest.mark.parametrize(("clips", "dimensions"), [(30, 5), (12, 40), (40, 40)])
@pytest.mark.parametrize("faults", [1, 4])
def test_it_is_the_matched_filter_of_the_shrunk_covariance(clips: int, dimensions: int, faults: int) -> None:
    random = torch.Generator().manual_seed(clips)
    mixing = torch.randn(dimensions, dimensions, generator=random)
    normal, fault, query = (torch.randn(n, dimensions, generator=random) @ mixing for n in (clips, faults, 9))
    fitted = LedoitWolf().fit(normal.double().numpy())
    signal = fault.double().numpy().mean(0) - fitted.location_
    precision = np.linalg.inv(fitted.covariance_)
    expected = (query.double().numpy() - fitted.location_) @ precision @ signal / np.sqrt(signal @ precision @ signal)
    found = fitted_scores(FILTER, with_faults(one_class(normal), fault), others(query))
    np.testing.assert_allclose(found, expected.clip(min=0), rtol=1e-6, atol=1e-9)
    assert (found > 0).any()


def test_a_class_without_known_faults_has_zeros_and_others_do_not_know_of_it() -> None:
    found = fitted_scores(FILTER, TOLD, TEST)
    of_one = (TEST.class_index == 1).numpy()
    assert (found[of_one] == 0).all() and (found[~of_one] > 0).mean() > 0.2
    assert (fitted_scores(FILTER, TRAIN, TEST) == 0).all()
    alone = TOLD.select(TOLD.class_index == 0)
    mine = TEST.select(TEST.class_index == 0)
    assert (fitted_scores(FILTER, alone, mine) == found[TEST.class_index == 0]).all()


def test_a_known_fault_is_found_again_in_noise() -> None:
    """Of one fault in 40 noisy dimensions, of which the other scorers know nothing."""
    random = torch.Generator().manual_seed(0)
    normal, test, faulty = (torch.randn(n, 40, generator=random) for n in (25, 200, 203))
    faulty[:, 3] += 3.0
    train = with_faults(one_class(normal), faulty[:3])
    rates = {}
    for config in (FILTER, MahalanobisConfig(space="raw")):
        low, high = (fitted_scores(config, train, others(clips)) for clips in (test, faulty[3:]))
        rates[config.name] = (high[:, None] > low).mean()
    assert rates["matched_filter"] > 0.85 > rates["mahalanobis"]


@pytest.mark.parametrize("copies", [1, 30])
@pytest.mark.parametrize("value", [0.0, 1234.567])
def test_equal_normal_clips_give_the_projection_on_the_fault(value: float, copies: int) -> None:
    rows = torch.full((copies, 4), value)
    fault = rows[:1] + torch.tensor([[0.0, 2.0, 0.0, 0.0]])
    query = torch.cat([rows[:1], fault, rows[:1] - 1.0])
    found = fitted_scores(FILTER, with_faults(one_class(rows), fault), others(query))
    np.testing.assert_allclose(found, [0.0, 2.0, 0.0], rtol=1e-3)
    same = fitted_scores(FILTER, with_faults(one_class(rows), rows[:1]), others(query))  # a fault that sounds normal
    assert (same == 0).all()


def test_a_recording_is_scored_by_what_the_others_taught() -> None:
    """The faults are all known, whichever normal recording is left out."""
    train, faults = recorded(4, 3, seed=0), recorded(2, 2, seed=8, first=5000)
    train = dataclasses.replace(train, known_faults=faults)
    scorer = build_scorer(FILTER)
    scorer.fit(train)
    found = scorer.score_normal(train, train)
    for own in train.recording.unique():
        its = train.recording == own
        expected = fitted_scores(FILTER, train.select(~its), train.select(its))
        np.testing.assert_allclose(found[its], expected, rtol=1e-6)


def test_a_view_of_it_is_a_view_of_the_faults() -> None:
    views = {"low": (0, 2, 2), "high": (2, 6, 2)}
    train, test, faults = (dataclasses.replace(clips, views=views) for clips in (TRAIN, TEST, FAULTS))
    cut = [dataclasses.replace(c, embedding=c.embedding[:, 2:], views={}) for c in (train, test, faults)]
    found = fitted_scores(MatchedFilterConfig(view="high"), dataclasses.replace(train, known_faults=faults), test)
    assert (found == fitted_scores(FILTER, dataclasses.replace(cut[0], known_faults=cut[2]), cut[1])).all()


# ---- in fused ------------------------------------------------------------------------------------------------------


def test_fused_counts_it_as_much_as_the_others_where_faults_are_known() -> None:
    fused = FusedConfig(members=MEMBERS, faults=(FILTER,))
    found, plain = fitted_scores(fused, TOLD, TEST), fitted_scores(FusedConfig(members=MEMBERS), TRAIN, TEST)
    alone = build_scorer(FILTER)
    alone.fit(TOLD)
    known, said = alone.score_normal(TOLD, TOLD), alone.score(TEST)
    for own in (0, 1, 2):
        rows, scale = (TEST.class_index == own).numpy(), known[TRAIN.class_index == own]
        expected = plain[rows]
        if own != 1:
            expected = (expected + (said[rows] - scale.mean()) / scale.std(ddof=1)) / 2
        np.testing.assert_allclose(found[rows], expected, rtol=1e-9)


@pytest.mark.parametrize("by", ["median", "max"])
def test_without_known_faults_not_a_bit_changes(by: str) -> None:
    configs = [FusedConfig(members=MEMBERS, by=by, faults=faults) for faults in ((), (FILTER,))]
    scorers = [build_scorer(config) for config in configs]
    for scorer in scorers:
        scorer.fit(TRAIN)
    assert (scorers[0].score(TEST) == scorers[1].score(TEST)).all()
    assert (scorers[0].score_normal(TRAIN, TRAIN) == scorers[1].score_normal(TRAIN, TRAIN)).all()
    assert scorers[0].labels == scorers[1].labels == ["knn", "mahalanobis_raw"]
    assert scorers[1].parts(TEST).shape == (len(TEST), 2)


def test_it_counts_once_for_each_view_and_behind_the_members() -> None:
    views = {"low": (0, 2, 2), "high": (2, 6, 2)}
    train, test, faults = (dataclasses.replace(clips, views=views) for clips in (TRAIN, TEST, FAULTS))
    config = FusedConfig(members=MEMBERS, views=("low", "high"), faults=(FILTER,), trained=(KnnConfig(k=3),))
    scorer = build_scorer(config)
    scorer.fit(dataclasses.replace(train, known_faults=faults))
    names = ["knn_low", "knn_high", "mahalanobis_raw_low", "mahalanobis_raw_high"]
    assert scorer.labels == [*names, "matched_filter_low", "matched_filter_high"]
    assert scorer.parts(test).shape == (len(test), 6)
    assert [scorer_label(member) for member in config.expanded()][-1] == "knn_k3"
    assert (restored(config, state_of(config, scorer)).score(test) == scorer.score(test)).all()


def test_a_scorer_that_does_not_learn_from_faults_is_no_part_of_these() -> None:
    with pytest.raises(pydantic.ValidationError, match="knn does not learn from known faults"):
        FusedConfig(faults=(KnnConfig(k=3),))


def test_who_learns_from_faults() -> None:
    assert learns_from_faults(FILTER) and learns_from_faults(FusedConfig(faults=(FILTER,)))
    assert not learns_from_faults(FusedConfig()) and not learns_from_faults(KnnConfig())


@pytest.mark.parametrize("config", [KnnConfig(), FILTER], ids=scorer_label)
def test_no_bank_keeps_the_known_faults(config: KnnConfig | MatchedFilterConfig) -> None:
    """A detector's file would carry them for every class and scorer."""
    scorer = build_scorer(config)
    scorer.fit(TOLD)
    kept = [model.known_faults for model in scorer.models.values() if isinstance(model, EmbeddingTable)]
    assert kept == [None] * (3 if config.name == "knn" else 0)
    assert not np.array_equal(fitted_scores(FILTER, TOLD, TEST), np.zeros(len(TEST)))
