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
    Embedded,
    KnnConfig,
    ScorerConfig,
    SoftmaxConfig,
    UntrainedKnnConfig,
    build_scorer,
    check_classes,
    scorer_label,
)
from tests.embedded import embedded_of

CONFIGS = [
    SoftmaxConfig(),
    CentroidConfig(),
    KnnConfig(),
    KnnConfig(k=3),
    KnnConfig(k=3, metric="euclidean"),
    KnnConfig(k=50),
    UntrainedKnnConfig(),
    UntrainedKnnConfig(level="normalised"),
]
NUM_CLASSES = 3


def random_clips(count: int, seed: int) -> Embedded:
    generator = torch.Generator().manual_seed(seed)
    return embedded_of(
        clip_index=torch.randperm(count, generator=generator),
        class_index=torch.randint(NUM_CLASSES, (count,), generator=generator),
        embedding=torch.randn(count, 6, generator=generator) + 1.0,
        logits=3 * torch.randn(count, NUM_CLASSES, generator=generator),
        features=20 * torch.randn(count, 8, generator=generator) - 40,
    )


TRAIN, TEST = random_clips(60, 0), random_clips(40, 1)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def expected(config: ScorerConfig, train: Embedded, test: Embedded) -> list[float]:
    """One clip after the other, straight from the definitions."""
    return [expected_one(config, train, test, n) for n in range(len(test))]


def expected_one(config: ScorerConfig, train: Embedded, test: Embedded, n: int) -> float:
    own = int(test.class_index[n])
    bank = train.select(train.class_index == own)
    if isinstance(config, SoftmaxConfig):
        logits = test.logits[n].double().numpy()
        return 1 - math.exp(logits[own]) / sum(math.exp(x) for x in logits)
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


def fitted_scores(config: ScorerConfig, train: Embedded = TRAIN, test: Embedded = TEST) -> np.ndarray:
    scorer = build_scorer(config)
    scorer.fit(train)
    return scorer.score(test)


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


def test_a_training_clip_is_at_distance_zero_of_itself():
    for config, tolerance in (
        (KnnConfig(), 1e-15),
        (KnnConfig(metric="euclidean"), 1e-6),
        (UntrainedKnnConfig(), 1e-5),
    ):
        np.testing.assert_allclose(fitted_scores(config, test=TRAIN), 0.0, atol=tolerance)


def test_level_normalised_ignores_gain():
    louder = dataclasses.replace(TEST, features=TEST.features + 12.0)
    level = UntrainedKnnConfig(level="normalised")
    np.testing.assert_allclose(fitted_scores(level, test=louder), fitted_scores(level), rtol=1e-5)
    assert not np.allclose(fitted_scores(UntrainedKnnConfig(), test=louder), fitted_scores(UntrainedKnnConfig()))


def test_more_test_clips_than_one_block_of_rows():
    test = random_clips(2500, 9)
    np.testing.assert_allclose(
        fitted_scores(KnnConfig(k=2), test=test)[-5:], expected(KnnConfig(k=2), TRAIN, test)[-5:], atol=1e-12
    )


def test_labels_are_distinct():
    labels = [scorer_label(config) for config in CONFIGS]
    assert labels == [
        "softmax", "centroid", "knn", "knn_k3", "knn_euclidean_k3", "knn_k50", "untrained_knn", "untrained_knn_level",
    ]  # fmt: skip


def test_configs_are_told_apart_by_name():
    adapter = pydantic.TypeAdapter(ScorerConfig)
    assert adapter.validate_python({"name": "knn", "k": 4}) == KnnConfig(k=4)
    assert {type(adapter.validate_python({"name": name})).__name__ for name in SCORERS} == {
        "SoftmaxConfig", "NegLogSoftmaxConfig", "CentroidConfig", "KnnConfig", "LocalKnnConfig", "MahalanobisConfig",
        "GmmConfig", "LofConfig", "UntrainedKnnConfig",
    }  # fmt: skip
    for wrong in (
        {"name": "knn", "k": 0},
        {"name": "gaussian"},
        {"name": "knn", "neighbours": 2},
        {"name": "knn", "metric": "l1"},
    ):
        with pytest.raises(pydantic.ValidationError):
            adapter.validate_python(wrong)
