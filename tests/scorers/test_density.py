"""Density scorers against independent computations."""

import dataclasses
import math

import numpy as np
import pydantic
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor

from asd.errors import UserError
from asd.losses import ArcFaceConfig, build_loss
from asd.scorers import (
    EmbeddingTable,
    GmmConfig,
    LocalKnnConfig,
    LofConfig,
    MahalanobisConfig,
    NegLogSoftmaxConfig,
    build_scorer,
    scorer_label,
)
from tests.support.scored import CONFIGS, NUM_CLASSES, TEST, TRAIN, fitted_scores, one_class, others, random_clips, unit

ON_EMBEDDINGS = [config for config in CONFIGS if config.name != "neg_log_softmax"]


def per_class(train: EmbeddingTable, test: EmbeddingTable):
    """(mask of the test clips, raw training embeddings, raw test embeddings) of each class, float64 numpy."""
    for c in range(NUM_CLASSES):
        own = test.class_index == c
        rows = train.embedding[train.class_index == c].double().numpy()
        yield own.numpy(), rows, test.embedding[own].double().numpy()


def assemble(score_class, train: EmbeddingTable = TRAIN, test: EmbeddingTable = TEST) -> np.ndarray:
    """Scores of all test clips from a function of (training embeddings, test embeddings) of one class."""
    scores = np.empty(len(test))
    for own, rows, query in per_class(train, test):
        scores[own] = score_class(rows, query)
    return scores


def pairwise(a: np.ndarray, b: np.ndarray, metric: str) -> np.ndarray:
    return 1 - unit(a) @ unit(b).T if metric == "cosine" else np.linalg.norm(a[:, None] - b[None], axis=-1)


@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_order_and_company_do_not_matter(config):
    scorer = build_scorer(config)
    scorer.fit(TRAIN)
    scores, order = scorer.score(TEST), torch.randperm(len(TEST))
    assert (scores.dtype, scores.shape, np.isfinite(scores).all()) == (np.float64, (len(TEST),), True)
    np.testing.assert_allclose(scorer.score(TEST.select(order)), scores[order.numpy()], rtol=1e-9)
    np.testing.assert_allclose(scorer.score(TEST.select(order[:1])), scores[order[:1].numpy()], rtol=1e-9)
    assert scorer.score(TEST.select(order[:0])).shape == (0,)


@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_a_second_fit_replaces_the_first_and_repeats_it(config):
    other, scorer = random_clips(30, 5), build_scorer(config)
    scorer.fit(TRAIN)
    scorer.fit(other)
    np.testing.assert_array_equal(scorer.score(TEST), fitted_scores(config, other))


@pytest.mark.parametrize(
    "config", [c for c in CONFIGS if not isinstance(c, GmmConfig) or c.components == 1], ids=scorer_label
)
def test_the_order_of_training_clips_does_not_matter(config):
    shuffled = TRAIN.select(torch.randperm(len(TRAIN)))
    np.testing.assert_allclose(fitted_scores(config, shuffled), fitted_scores(config), rtol=1e-7)


@pytest.mark.parametrize("config", ON_EMBEDDINGS, ids=scorer_label)
def test_the_unit_of_the_embedding_does_not_matter(config):
    louder = [dataclasses.replace(clips, embedding=clips.embedding * 64) for clips in (TRAIN, TEST)]
    np.testing.assert_allclose(fitted_scores(config, *louder), fitted_scores(config), rtol=1e-7)


def test_the_difference_to_the_density_has_the_unit_of_the_embedding():
    config = LocalKnnConfig(normalisation="difference", metric="euclidean")
    louder = [dataclasses.replace(clips, embedding=clips.embedding * 64) for clips in (TRAIN, TEST)]
    np.testing.assert_allclose(fitted_scores(config, *louder), 64 * fitted_scores(config), rtol=1e-9)


@pytest.mark.parametrize("config", ON_EMBEDDINGS, ids=scorer_label)
def test_what_is_far_away_scores_higher(config):
    away = dataclasses.replace(TEST, embedding=-4 * TEST.embedding.abs())
    assert np.median(fitted_scores(config, test=away)) > np.median(fitted_scores(config))


@pytest.mark.parametrize("config", CONFIGS[:2], ids=scorer_label)
def test_neg_log_softmax_equals_numpy(config):
    scores = fitted_scores(config)
    for n, own in enumerate(TEST.class_index.tolist()):
        logits = TEST.logits[n].double().numpy().copy()
        if config.scale is not None:
            logits[own] = config.scale * math.cos(math.acos(logits[own] / config.scale) + config.margin)
        assert scores[n] == pytest.approx(-math.log(math.exp(logits[own]) / np.exp(logits).sum()), rel=1e-9)


@pytest.mark.parametrize("margin", [0.05, 0.7, 1.5])
def test_neg_log_softmax_with_margin_equals_the_training_loss(margin):
    loss = build_loss(ArcFaceConfig(scale=30, margin=margin), 6, NUM_CLASSES).double()
    embedding = torch.cat([TEST.embedding, -4 * loss.centres[TEST.class_index].detach().float()])  # and beyond π - m
    clips = torch.cat([torch.arange(len(TEST))] * 2)
    test = dataclasses.replace(TEST.select(clips), embedding=embedding, logits=loss.logits(embedding.double()).float())
    one = torch.ones(len(test))
    with torch.no_grad():
        expected = loss.float()(embedding, test.class_index, test.class_index, one)
    scores = fitted_scores(NegLogSoftmaxConfig(margin=margin, scale=30), test=detached(test))
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-4, atol=1e-4)


def detached(clips: EmbeddingTable) -> EmbeddingTable:
    return dataclasses.replace(clips, logits=clips.logits.detach())


def test_neg_log_softmax_keeps_the_order_near_one():
    logits = torch.tensor([[50.0, 0.0, 0.0], [60.0, 0.0, -5.0], [0.0, 500.0, 0.0]])
    clips = dataclasses.replace(
        TEST.select(torch.arange(3)), class_index=torch.zeros(3, dtype=torch.int64), logits=logits
    )
    scores = fitted_scores(NegLogSoftmaxConfig(), test=clips)
    np.testing.assert_allclose(scores, [2 * math.exp(-50), math.exp(-60) + math.exp(-65), 500.0], rtol=1e-12)


def test_margins_need_the_scale_of_the_loss():
    for wrong in ({"margin": 0.7}, {"scale": 30.0}):
        with pytest.raises(pydantic.ValidationError, match="belong together"):
            NegLogSoftmaxConfig(**wrong)
    with pytest.raises(UserError, match=r"is no cosine at scale 0\.5: give the scale of the loss"):
        fitted_scores(NegLogSoftmaxConfig(margin=0.7, scale=0.5))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("normalisation", ["ratio", "difference"])
@pytest.mark.parametrize(("k", "density_k"), [(1, 4), (3, 1), (2, 500)])
def test_local_knn_equals_a_plain_loop(metric, normalisation, k, density_k):
    def score_class(rows, query):
        among, found = pairwise(rows, rows, metric), []
        density = [np.sort(np.delete(d, i))[:density_k].mean() for i, d in enumerate(among)]
        for distances in pairwise(query, rows, metric):
            normalised = distances / density if normalisation == "ratio" else distances - density
            found.append(np.sort(normalised)[:k].mean())
        return found

    config = LocalKnnConfig(k=k, density_k=density_k, normalisation=normalisation, metric=metric)
    np.testing.assert_allclose(fitted_scores(config), assemble(score_class), rtol=1e-9, atol=1e-12)


def test_the_same_distance_counts_for_more_where_the_clips_lie_close():
    rows = torch.cat([0.1 * torch.randn(50, 4), 100 + 10 * torch.randn(50, 4)])
    query = torch.tensor([[5.0, 0, 0, 0], [105.0, 100, 100, 100]])
    scores = fitted_scores(LocalKnnConfig(metric="euclidean"), one_class(rows), others(query))
    assert scores[0] > 5 * scores[1]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_lof_equals_scikit_learn(metric, k):
    train, test = random_clips(1500, 3), random_clips(1200, 4)  # more than one block of a class

    def score_class(rows, query):
        model = LocalOutlierFactor(n_neighbors=k, novelty=True, metric=metric).fit(rows)
        return -model.score_samples(query)

    np.testing.assert_allclose(
        fitted_scores(LofConfig(k=k, metric=metric), train, test), assemble(score_class, train, test), rtol=1e-6
    )


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_lof_of_the_training_clips_equals_scikit_learn(metric, k):
    train = random_clips(1500, 3)

    def score_class(rows, query):
        model = LocalOutlierFactor(n_neighbors=k, metric=metric).fit(rows)
        return -model.negative_outlier_factor_

    expected = assemble(score_class, train, train)
    np.testing.assert_allclose(fitted_scores(LofConfig(k=k, metric=metric), train, train), expected, rtol=1e-6)


def test_more_training_clips_than_one_block_of_rows():
    rows, query = torch.randn(2500, 3), torch.randn(5, 3)
    model = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(rows.double().numpy())
    scores = fitted_scores(LofConfig(metric="euclidean"), one_class(rows), others(query))
    np.testing.assert_allclose(scores, -model.score_samples(query.double().numpy()), rtol=1e-6)
    own = LocalOutlierFactor(n_neighbors=20).fit(rows.double().numpy()).negative_outlier_factor_
    scores = fitted_scores(LofConfig(metric="euclidean"), one_class(rows), one_class(rows))
    np.testing.assert_allclose(scores, -own, rtol=1e-6)


@pytest.mark.parametrize("space", ["unit", "raw"])
def test_mahalanobis_equals_scikit_learns_ledoit_wolf(space):
    def score_class(rows, query):
        rows, query = (unit(rows), unit(query)) if space == "unit" else (rows, query)
        return np.sqrt(LedoitWolf().fit(rows).mahalanobis(query))

    np.testing.assert_allclose(fitted_scores(MahalanobisConfig(space=space)), assemble(score_class), rtol=1e-6)


@pytest.mark.parametrize("clips", [6, 40, 60])
def test_mahalanobis_of_fewer_clips_than_dimensions_and_of_more(clips):
    rows, query = torch.randn(clips, 40), 3 * torch.randn(5, 40)
    found = fitted_scores(MahalanobisConfig(space="raw"), one_class(rows), one_class(query))
    known = LedoitWolf().fit(rows.double().numpy())
    np.testing.assert_allclose(found, np.sqrt(known.mahalanobis(query.double().numpy())), rtol=1e-9)


def test_mahalanobis_of_domains_is_the_smaller_of_two():
    domain = torch.arange(len(TRAIN)) % 2 + 1
    train = dataclasses.replace(TRAIN, domain=domain)
    parts = [fitted_scores(MahalanobisConfig(), train=train.select(domain == own)) for own in (1, 2)]
    np.testing.assert_array_equal(fitted_scores(MahalanobisConfig(per="domain"), train=train), np.minimum(*parts))


@pytest.mark.parametrize("a", [0.001, 0.5, 1.0])
def test_mahalanobis_equals_its_definition(a):
    def score_class(rows, query):
        covariance = np.cov(rows.T, bias=True)
        shrunk = (1 - a) * covariance + a * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        deviation = query - rows.mean(axis=0)
        return [math.sqrt(d @ np.linalg.inv(shrunk) @ d) for d in deviation]

    np.testing.assert_allclose(
        fitted_scores(MahalanobisConfig(shrinkage=a, space="raw")), assemble(score_class), rtol=1e-9
    )


def clusters(count: int, seed: int) -> EmbeddingTable:
    """Two clusters in every class, so far apart that every start ends in the same mixture."""
    clips = random_clips(count, seed)
    shift = torch.zeros(count, 6)
    shift[::2, 0], shift[1::2, 1] = 40.0, 40.0
    return dataclasses.replace(clips, embedding=clips.embedding + shift)


@pytest.mark.parametrize("covariance", ["diag", "full", "tied"])
@pytest.mark.parametrize("space", ["unit", "raw"])
@pytest.mark.parametrize("components", [1, 2])
def test_gmm_equals_scikit_learn(covariance, space, components):
    train, test = clusters(300, 6), clusters(40, 7)

    def score_class(rows, query):
        rows, query = (unit(rows), unit(query)) if space == "unit" else (rows, query)
        centre = rows.mean(axis=0)
        spread = (rows - centre).std()
        model = GaussianMixture(components, covariance_type=covariance, reg_covar=1e-3, tol=1e-9, random_state=0)
        return -model.fit((rows - centre) / spread).score_samples((query - centre) / spread)

    config = GmmConfig(components=components, covariance=covariance, space=space)
    np.testing.assert_allclose(fitted_scores(config, train, test), assemble(score_class, train, test), rtol=1e-6)


def test_gmm_on_principal_axes_equals_numpy():
    def score_class(rows, query):
        centre = unit(rows).mean(axis=0)
        axes = np.linalg.eigh(np.cov(unit(rows).T))[1][:, :-4:-1]
        rows, query = (unit(rows) - centre) @ axes, (unit(query) - centre) @ axes
        spread = rows.std()
        covariance = np.cov((rows / spread).T, bias=True) + 1e-3 * np.eye(3)
        square = np.einsum("nd,de,ne->n", query / spread, np.linalg.inv(covariance), query / spread)
        return 0.5 * (square + np.linalg.slogdet(covariance)[1] + 3 * math.log(2 * math.pi))

    np.testing.assert_allclose(fitted_scores(CONFIGS[-1]), assemble(score_class), rtol=1e-9)


def test_the_start_of_a_gmm_is_its_seeds():
    one, other = (GmmConfig(components=5, seed=seed) for seed in (1, 2))
    state = torch.get_rng_state()
    np.testing.assert_array_equal(fitted_scores(one), fitted_scores(one))
    assert not np.array_equal(fitted_scores(one), fitted_scores(other))
    assert torch.equal(state, torch.get_rng_state())
