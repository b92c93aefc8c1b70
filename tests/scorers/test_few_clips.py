"""Scorers of classes with few, equal or non-finite clips."""

import dataclasses
import math

import numpy as np
import pydantic
import pytest
import torch

from asd.errors import UserError
from asd.scorers import (
    BandKnnConfig,
    CentroidConfig,
    DomainKnnConfig,
    FaultHeadConfig,
    GmmConfig,
    KnnConfig,
    LocalKnnConfig,
    LofConfig,
    LogOddsConfig,
    MahalanobisConfig,
    MatchedFilterConfig,
    NegLogSoftmaxConfig,
    PcaResidualConfig,
    ReconstructionConfig,
    ScorerConfig,
    SelectiveMahalanobisConfig,
    SoftmaxConfig,
    UntrainedKnnConfig,
    build_scorer,
    scorer_label,
)
from asd.scorers.density import local_density
from asd.scorers.distance import Rows
from asd.scorers.members import MEMBERS
from tests.support.scored import CONFIGS, TEST, TRAIN, fitted_scores, one_class, others

WIDE = [*CONFIGS, GmmConfig(components=9), GmmConfig(covariance="tied", pca=64), GmmConfig(pca=4, components=4)]


@pytest.mark.parametrize(("count", "scale"), [(1, 1e-6), (2, 1e6), (3, 1.0), (19, 1e-6)])
@pytest.mark.parametrize("config", WIDE, ids=scorer_label)
def test_few_clips_in_many_dimensions_are_scored(config, count, scale):
    generator = torch.Generator().manual_seed(count)
    rows = scale * (2.0 + 0.1 * torch.randn(count, 64, generator=generator))
    query = scale * torch.randn(8, 64, generator=generator)
    scores = fitted_scores(config, one_class(rows), others(torch.cat([rows, query, 0 * query[:1]])))
    assert np.isfinite(scores).all()
    if config.name != "neg_log_softmax" and getattr(config, "pca", None) is None:  # PCA sees its own axes only
        assert scores[:count].max() < scores[count:-1].min()


@pytest.mark.parametrize("copies", [1, 2, 30])
@pytest.mark.parametrize("config", WIDE, ids=scorer_label)
def test_equal_embeddings_are_scored(config, copies):
    for value in (0.0, 1.0, 1234.567):
        rows = torch.full((copies, 16), value)
        query = rows[:1].repeat(3, 1)
        query[2, 3] += value or 1.0
        scores = fitted_scores(config, one_class(rows), others(query))
        assert np.isfinite(scores).all() and scores[0] == scores[1]
        cosine = getattr(config, "metric", "") == "cosine"  # of which a zero vector has none
        if config.name != "neg_log_softmax" and not (cosine and value == 0):
            assert scores[2] > scores[0]


@pytest.mark.parametrize("config", WIDE, ids=scorer_label)
def test_a_class_of_duplicates_and_one_other_is_scored(config):
    rows = torch.ones(30, 16)
    rows[0, :8] = -1.0
    for test in (others(torch.randn(20, 16)), one_class(rows)):
        assert np.isfinite(fitted_scores(config, one_class(rows), test)).all()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("name", MEMBERS)
def test_a_clip_that_is_not_finite_is_named(name, broken):
    config = pydantic.TypeAdapter(ScorerConfig).validate_python({"name": name})
    field = MEMBERS[name].reads
    rows = getattr(TEST, field).clone()
    rows[7, 1] = broken
    bad, scorer = dataclasses.replace(TEST, **{field: rows}), build_scorer(config)
    clip = int(TEST.clip_index[7])
    with pytest.raises(UserError, match=rf"training {field} of clip {clip} is not finite \(1 such clips of 40\)"):
        scorer.fit(bad)
    scorer.fit(TRAIN)
    with pytest.raises(UserError, match=f"test {field} of clip {clip} is not finite"):
        scorer.score(bad)


def test_no_class_is_scored_by_another():
    for config in CONFIGS:
        scorer = build_scorer(config)
        scorer.fit(TRAIN.select(TRAIN.class_index != 1))
        with pytest.raises(UserError, match="is of class 1, of which there is no training embedding"):
            scorer.score(TEST)


CHANGES = {
    SoftmaxConfig: {},
    CentroidConfig: {},
    NegLogSoftmaxConfig: {"margin": 0.5, "scale": 20.0},
    KnnConfig: {"k": 7, "metric": "euclidean"},
    LocalKnnConfig: {
        "k": 7, "density_k": 9, "normalisation": "difference", "metric": "euclidean", "cluster_exit": 90.0,
    },
    LofConfig: {"k": 7, "metric": "euclidean"},
    LogOddsConfig: {},
    BandKnnConfig: {},
    DomainKnnConfig: {
        "k": 7, "metric": "euclidean", "smote": 0.5, "mem_mixup": 8, "density": "sum", "density_k": 9,
        "target_density_k": 2, "cluster_exit": 90.0, "nearer": "z_score",
    },
    PcaResidualConfig: {"variance": 0.5, "space": "unit"},
    ReconstructionConfig: {"summary": "std"},
    SelectiveMahalanobisConfig: {},
    MatchedFilterConfig: {},
    MahalanobisConfig: {"shrinkage": 0.1, "space": "raw", "per": "domain"},
    GmmConfig: {
        "components": 7, "covariance": "full", "pca": 5, "regularisation": 0.1, "space": "raw", "seed": 3,
    },
    UntrainedKnnConfig: {"level": "normalised"},
    FaultHeadConfig: {},
}  # fmt: skip


@pytest.mark.parametrize("k", [3, 8])
@pytest.mark.parametrize("percent", [50, 95])
def test_a_step_between_distances_ends_a_neighbourhood(k, percent):
    """By loops in numpy. Two clusters: with more neighbours than one has clips, the step to the other ends it."""
    rows = np.random.default_rng(0).normal(size=(12, 2))
    rows[6:] += 50
    distance = np.linalg.norm(rows[:, None] - rows, axis=2) + np.diag([np.inf] * 12)
    near = np.sort(distance, axis=1)[:, :k]
    threshold = np.quantile(np.diff(near, axis=1), percent / 100)
    kept = []
    for row in near:
        steps = [place for place, step in enumerate(np.diff(row), start=1) if step > threshold]
        kept.append(row[: steps[0]] if steps else row)
    bank = Rows(torch.from_numpy(rows), torch.arange(12))
    for summary, of in (("mean", np.mean), ("sum", np.sum)):
        found = local_density(bank, k, "euclidean", summary, percent)
        np.testing.assert_allclose(found, [of(row) for row in kept], rtol=1e-9)
    if (k, percent) == (8, 50):
        assert max(map(len, kept)) <= 5 and local_density(bank, k, "euclidean").min() > 20
    assert local_density(Rows(torch.ones(4, 2), torch.arange(4)), k, "euclidean", "sum", percent) is None


def test_every_setting_shows_in_the_label():
    assert {config.model_fields["name"].default for config in CHANGES} == set(MEMBERS)
    labels = []
    for config, changes in CHANGES.items():
        assert set(changes) == set(config.model_fields) - {"name", "view", "bank"}  # the last two are behind the label
        steps = [dict(list(changes.items())[:n]) for n in range(len(changes) + 1)]
        steps = [s for s in steps if config is not NegLogSoftmaxConfig or len(s) != 1]
        labels += [config(**settings).label for settings in steps]
    assert len(set(labels)) == len(labels)
    assert labels[-3:-1] == ["untrained_knn", "untrained_knn_level"] and "gmm_raw_full_c7_pca5_r0.1_seed3" in labels
