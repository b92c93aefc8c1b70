"""-log softmax and the scorers of density: against numpy and scikit-learn, symmetries, classes of next to no clips."""

import dataclasses
import math

import numpy as np
import pydantic
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor
from test_scorers import NUM_CLASSES, TEST, TRAIN, fitted_scores, random_clips, unit

from asd.errors import UserError
from asd.losses import ArcFaceConfig, build_loss
from asd.scorers import (
    BandKnnConfig,
    CentroidConfig,
    DomainKnnConfig,
    EmbeddingTable,
    FaultHeadConfig,
    GmmConfig,
    KnnConfig,
    LocalKnnConfig,
    LofConfig,
    LogOddsConfig,
    MahalanobisConfig,
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
from tests.support.embedded import embedded_of

CONFIGS = [
    NegLogSoftmaxConfig(),
    NegLogSoftmaxConfig(margin=0.7, scale=30),
    LocalKnnConfig(),
    LocalKnnConfig(k=3, normalisation="difference"),
    LocalKnnConfig(metric="euclidean", density_k=50),
    LocalKnnConfig(density_k=8, cluster_exit=90),
    DomainKnnConfig(density="mean", nearer="z_score"),
    LofConfig(),
    LofConfig(k=5, metric="euclidean"),
    MahalanobisConfig(),
    MahalanobisConfig(shrinkage=0.2, space="raw"),
    GmmConfig(),
    GmmConfig(components=3, covariance="full"),
    GmmConfig(covariance="tied", space="raw"),
    GmmConfig(components=1, covariance="full", pca=3),
]
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


# -log softmax


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


# local density


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


# covariance


@pytest.mark.parametrize("space", ["unit", "raw"])
def test_mahalanobis_equals_scikit_learns_ledoit_wolf(space):
    def score_class(rows, query):
        rows, query = (unit(rows), unit(query)) if space == "unit" else (rows, query)
        return np.sqrt(LedoitWolf().fit(rows).mahalanobis(query))

    np.testing.assert_allclose(fitted_scores(MahalanobisConfig(space=space)), assemble(score_class), rtol=1e-6)


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


# mixtures


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


# classes with next to no clips


def one_class(embedding: torch.Tensor, first: int = 0) -> EmbeddingTable:
    """Clips of one class, with indices from `first`."""
    count = len(embedding)
    logits = torch.zeros(count, NUM_CLASSES)
    clip_index = first + torch.arange(count)
    return embedded_of(embedding, clip_index=clip_index, logits=logits, features=torch.ones(count, 4))


def others(embedding: torch.Tensor) -> EmbeddingTable:
    """Clips of that class with other indices."""
    return one_class(embedding, first=1_000_000)


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


# configs

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
        assert set(changes) == set(config.model_fields) - {"name", "view"}  # a view is behind the label
        steps = [dict(list(changes.items())[:n]) for n in range(len(changes) + 1)]
        steps = [s for s in steps if config is not NegLogSoftmaxConfig or len(s) != 1]
        labels += [config(**settings).label for settings in steps]
    assert len(set(labels)) == len(labels)
    assert labels[-3:-1] == ["untrained_knn", "untrained_knn_level"] and "gmm_raw_full_c7_pca5_r0.1_seed3" in labels
