"""Every scorer against a plain loop in numpy, and what all scorers share."""

import dataclasses
import math

import numpy as np
import pydantic
import pytest
import torch

from asd.errors import UserError
from asd.scorers import (
    SCORERS,
    CentroidConfig,
    EmbeddingTable,
    FaultHeadConfig,
    KnnConfig,
    LogOddsConfig,
    ReconstructionConfig,
    ScorerConfig,
    SelectiveMahalanobisConfig,
    SoftmaxConfig,
    UntrainedKnnConfig,
    build_scorer,
    check_classes,
    reads,
    scorer_label,
)
from tests.support.embedded import embedded_of
from tests.support.scored import TEST, TRAIN, fitted_scores, random_clips, unit

CONFIGS = [
    SoftmaxConfig(),
    CentroidConfig(),
    KnnConfig(),
    KnnConfig(k=3),
    KnnConfig(k=3, metric="euclidean"),
    KnnConfig(k=50),
    LogOddsConfig(),
    ReconstructionConfig(),
    ReconstructionConfig(summary="median"),
    ReconstructionConfig(summary="std"),
    SelectiveMahalanobisConfig(),
    UntrainedKnnConfig(),
    UntrainedKnnConfig(level="normalised"),
]


def expected(config: ScorerConfig, train: EmbeddingTable, test: EmbeddingTable) -> list[float]:
    """One clip after the other, straight from the definitions."""
    return [expected_one(config, train, test, n) for n in range(len(test))]


def expected_one(config: ScorerConfig, train: EmbeddingTable, test: EmbeddingTable, n: int) -> float:
    own = int(test.class_index[n])
    bank = train.select(train.class_index == own)
    if isinstance(config, SoftmaxConfig | LogOddsConfig):
        logits = test.logits[n].double().numpy()
        p = math.exp(logits[own]) / sum(math.exp(x) for x in logits)
        return 1 - p if isinstance(config, SoftmaxConfig) else math.log((1 - p) / p)
    if isinstance(config, ReconstructionConfig):
        return float(test.errors[n, ["mean", "median", "std"].index(config.summary)])
    if isinstance(config, SelectiveMahalanobisConfig):
        mean = test.embedding[n].double().numpy()
        return float(mean @ np.linalg.inv(np.cov(bank.embedding.double().numpy().T)) @ mean)
    if not isinstance(config, CentroidConfig):  # neighbours
        bank = bank.select(bank.clip_index != test.clip_index[n])
    if isinstance(config, UntrainedKnnConfig):
        query, rows = test.features[n].double().numpy(), bank.features.double().numpy()
        if config.level == "normalised":
            query, rows = query - query.mean(), rows - rows.mean(axis=1, keepdims=True)
        return min(math.dist(query, row) for row in rows)
    query, rows = test.embedding[n].double().numpy(), bank.embedding.double().numpy()
    if isinstance(config, CentroidConfig):
        return 1 - float(unit(query) @ unit(unit(rows).mean(axis=0)))
    if config.metric == "cosine":
        distances = [1 - float(unit(query) @ unit(row)) for row in rows]
    else:
        distances = [math.dist(query, row) for row in rows]
    return float(np.mean(sorted(distances)[: config.k]))


@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_scores_equal_a_plain_loop(config):
    scores = fitted_scores(config)
    assert (scores.dtype, scores.shape) == (np.float64, (len(TEST),))
    np.testing.assert_allclose(scores, expected(config, TRAIN, TEST), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_a_score_does_not_depend_on_the_other_test_clips(config):
    scorer = build_scorer(config)
    scorer.fit(TRAIN)
    order = torch.randperm(len(TEST))
    np.testing.assert_allclose(scorer.score(TEST.select(order)), scorer.score(TEST)[order.numpy()], atol=1e-12)
    np.testing.assert_allclose(scorer.score(TEST.select(order[:1])), scorer.score(TEST)[order[:1].numpy()], atol=1e-12)


@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_a_second_fit_replaces_the_first(config):
    other, scorer = random_clips(30, 5), build_scorer(config)
    scorer.fit(TRAIN)
    scorer.fit(other)
    np.testing.assert_array_equal(scorer.score(TEST), fitted_scores(config, other))


@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_no_test_clip_gives_no_score(config):
    assert fitted_scores(config, test=TEST.select(torch.zeros(len(TEST), dtype=torch.bool))).shape == (0,)


@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_a_class_without_training_clips_is_named(config):
    scorer = build_scorer(config)
    scorer.fit(TRAIN.select(TRAIN.class_index != 1))
    clip = int(TEST.clip_index[TEST.class_index == 1][0])
    with pytest.raises(UserError, match=f"test clip {clip} is of class 1, of which there is no training embedding"):
        scorer.score(TEST)


def test_check_classes_uses_names_where_it_has_them():
    check_classes({0, 1, 2}, TEST)
    with pytest.raises(UserError, match="class fan/02,"):
        check_classes([0, 1], TEST, ["fan/00", "fan/01", "fan/02"])


def test_softmax_keeps_the_order_near_one():
    # p = 1 - 2e-22 and 1 - 1e-26: both round to 1, also in float64
    logits = torch.tensor([[50.0, 0.0, 0.0], [60.0, 0.0, -5.0], [0.0, 50.0, 0.0]])
    clips = dataclasses.replace(
        TEST.select(torch.arange(3)), class_index=torch.zeros(3, dtype=torch.int64), logits=logits
    )
    scores = fitted_scores(SoftmaxConfig(), test=clips)
    np.testing.assert_allclose(scores, [2 * math.exp(-50), math.exp(-60) + math.exp(-65), 1.0], rtol=1e-12)


def test_softmax_of_a_single_class_is_zero():
    clips = embedded_of(torch.ones(2, 1), logits=torch.ones(2, 1), features=torch.ones(2, 1))
    assert fitted_scores(SoftmaxConfig(), clips, clips).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_training_clips_are_scored_like_others(config):
    np.testing.assert_allclose(fitted_scores(config, test=TRAIN), expected(config, TRAIN, TRAIN), rtol=1e-9, atol=1e-12)


def test_a_training_clip_is_at_distance_zero_of_its_equals_only():
    copies = dataclasses.replace(TRAIN, clip_index=TRAIN.clip_index + 1_000, recording=TRAIN.recording + 1_000)
    for config, tolerance in (
        (KnnConfig(), 1e-15),
        (KnnConfig(metric="euclidean"), 1e-6),
        (UntrainedKnnConfig(), 1e-5),
    ):
        np.testing.assert_allclose(fitted_scores(config, test=copies), 0.0, atol=tolerance)
        np.testing.assert_allclose(fitted_scores(config, TRAIN.join(copies), TRAIN), 0.0, atol=tolerance)
        assert fitted_scores(config, test=TRAIN).min() > 1e-3


def test_what_is_the_same_for_all_windows_is_scored_by_clip():
    order = torch.tensor([3, 0, 0, 2, 3, 0, 1])
    windows, twice = TEST.select(order), TRAIN.select(torch.arange(len(TRAIN)).repeat(2))
    for config in (UntrainedKnnConfig(), UntrainedKnnConfig(level="normalised")):
        np.testing.assert_allclose(fitted_scores(config, twice, windows), fitted_scores(config)[order], rtol=1e-9)


def test_log_odds_of_a_clip_are_the_mean_over_its_windows():
    probability = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    windows = embedded_of(torch.ones(3, 1), clip_index=torch.tensor([4, 4, 7]), logits=probability.log() - 3)
    scores = fitted_scores(LogOddsConfig(), windows, windows)
    np.testing.assert_allclose(scores, [math.log(1 / 9), math.log(4), 0.0], rtol=1e-6, atol=1e-7)


def test_log_odds_of_what_is_next_to_certain_stay_apart():
    clips = embedded_of(torch.ones(2, 1), logits=torch.tensor([[900.0, 0.0], [-900.0, 0.0]]))
    assert fitted_scores(LogOddsConfig(), clips, clips).tolist() == [-900.0, 900.0]


def test_what_scorers_read():
    adapter = pydantic.TypeAdapter(ScorerConfig)
    other = {
        "softmax": "logits", "neg_log_softmax": "logits", "log_odds": "logits", "reconstruction": "errors",
        "selective_mahalanobis": "residuals", "untrained_knn": "features", "fault_head": "faults",
    }  # fmt: skip
    for name in SCORERS:
        assert reads(adapter.validate_python({"name": name})) == {other.get(name, "embedding")}
    members = [{"name": "knn"}, {"name": "softmax"}, {"name": "untrained_knn"}]
    both = adapter.validate_python({"name": "fused", "members": members})
    assert reads(both) == {"embedding", "logits", "features"}


def test_the_head_of_the_own_machine_counts():
    found = fitted_scores(FaultHeadConfig(), TRAIN, TEST)
    own = [float(TEST.faults[row, machine]) for row, machine in enumerate(TEST.class_index.tolist())]
    np.testing.assert_array_equal(found, own)


@pytest.mark.parametrize("config", [KnnConfig(), UntrainedKnnConfig()], ids=scorer_label)
def test_clips_that_are_not_finite_are_counted_not_windows(config):
    clip = torch.arange(4).repeat_interleave(3)
    rows = torch.ones(12, 3)
    rows[4:7, 0] = math.nan  # two windows of clip 1, one of clip 2
    windows = embedded_of(rows, clip_index=clip, features=rows)
    with pytest.raises(UserError, match=r"of clip 1 is not finite \(2 such clips of 4\)"):
        fitted_scores(config, windows, windows)


def test_level_normalised_ignores_gain():
    louder = dataclasses.replace(TEST, features=TEST.features + 12.0)
    level = UntrainedKnnConfig(level="normalised")
    np.testing.assert_allclose(fitted_scores(level, test=louder), fitted_scores(level), rtol=1e-5)
    assert not np.allclose(fitted_scores(UntrainedKnnConfig(), test=louder), fitted_scores(UntrainedKnnConfig()))


def test_more_test_clips_than_one_block_of_rows():
    test = random_clips(2500, 9)
    last = test.select(torch.arange(2495, 2500))
    np.testing.assert_allclose(
        fitted_scores(KnnConfig(k=2), test=test)[-5:], expected(KnnConfig(k=2), TRAIN, last), atol=1e-12
    )


def test_labels_are_distinct():
    labels = [scorer_label(config) for config in CONFIGS]
    assert labels == [
        "softmax", "centroid", "knn", "knn_k3", "knn_euclidean_k3", "knn_k50", "log_odds",
        "reconstruction", "reconstruction_median", "reconstruction_std", "selective_mahalanobis",
        "untrained_knn", "untrained_knn_level",
    ]  # fmt: skip


def test_configs_are_told_apart_by_name():
    adapter = pydantic.TypeAdapter(ScorerConfig)
    assert adapter.validate_python({"name": "knn", "k": 4}) == KnnConfig(k=4)
    assert {type(adapter.validate_python({"name": name})).__name__ for name in SCORERS} == {
        "SoftmaxConfig", "NegLogSoftmaxConfig", "CentroidConfig", "KnnConfig", "LocalKnnConfig", "MahalanobisConfig",
        "GmmConfig", "LofConfig", "LogOddsConfig", "ReconstructionConfig", "SelectiveMahalanobisConfig",
        "UntrainedKnnConfig", "BandKnnConfig", "PcaResidualConfig", "DomainKnnConfig", "FusedConfig", "FaultHeadConfig",
        "MatchedFilterConfig",
    }  # fmt: skip
    for wrong in (
        {"name": "knn", "k": 0},
        {"name": "gaussian"},
        {"name": "knn", "neighbours": 2},
        {"name": "knn", "metric": "l1"},
        {"name": "reconstruction", "summary": "max"},
    ):
        with pytest.raises(pydantic.ValidationError):
            adapter.validate_python(wrong)
