"""Scorers that read one view of the embedding, and those made for statistics: per-band neighbours, PCA residual."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from asd.errors import UserError
from asd.scorers import (
    BandKnnConfig,
    CentroidConfig,
    EmbeddingTable,
    GmmConfig,
    KnnConfig,
    LocalKnnConfig,
    LofConfig,
    MahalanobisConfig,
    PcaResidualConfig,
    ScorerConfig,
    build_scorer,
    scorer_label,
    views,
)
from asd.scorers.band_knn import nearest_point, nearest_value
from tests.support.embedded import embedded_of
from tests.support.scored import fitted_scores, random_clips

VIEWS = {"low": (0, 2, 2), "high": (2, 6, 2)}  # two values of each of two bands
TRAIN, TEST = (dataclasses.replace(random_clips(count, seed), views=VIEWS) for count, seed in ((60, 0), (40, 1)))
KINDS = [
    CentroidConfig, KnnConfig, LocalKnnConfig, LofConfig, BandKnnConfig, MahalanobisConfig, GmmConfig, PcaResidualConfig
]  # fmt: skip


def columns(clips: EmbeddingTable, first: int, behind: int) -> EmbeddingTable:
    return dataclasses.replace(clips, embedding=clips.embedding[:, first:behind], views={"own": (0, behind - first, 2)})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_view_is_an_embedding_of_its_columns(kind: type[ScorerConfig]) -> None:
    """Also for training clips that are left out, and whatever the other columns hold."""
    train, test = (columns(clips, 2, 6) for clips in (TRAIN, TEST))
    broken = torch.cat([torch.full((40, 2), torch.nan), TEST.embedding[:, 2:]], 1)
    of_view, alone = build_scorer(kind(view="high")), build_scorer(kind(view="own"))
    for scorer, bank in ((of_view, TRAIN), (alone, train)):
        scorer.fit(bank)
    assert (of_view.score(dataclasses.replace(TEST, embedding=broken)) == alone.score(test)).all()
    assert (of_view.score_normal(TRAIN, TRAIN) == alone.score_normal(train, train)).all()


def test_its_name_is_in_the_label_and_in_what_is_read() -> None:
    config = KnnConfig(metric="euclidean", view="twfr_0.99_level")
    assert scorer_label(config) == "knn_euclidean_twfr_0.99_level"
    assert views(config) == {"twfr_0.99_level"}
    assert views(KnnConfig()) == set()


def test_a_view_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"no view hihg \(they have low, high\)") as caught:
        build_scorer(KnnConfig(view="hihg")).fit(TRAIN)
    assert "\n" not in str(caught.value)


# ---- per-band neighbours -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("view", "bands"), [("high", 2), (None, 6)])
def test_each_band_has_its_own_nearest_clip(view: str | None, bands: int) -> None:
    found = fitted_scores(BandKnnConfig(view=view), TRAIN, TEST)
    first = 2 if view else 0
    for n in range(len(TEST)):
        bank = TRAIN.embedding[TRAIN.class_index == TEST.class_index[n], first:].double().numpy()
        own = TEST.embedding[n, first:].double().numpy()
        distances = [min(math.dist(own[m::bands], row[m::bands]) for row in bank) for m in range(bands)]
        assert found[n] == pytest.approx(np.mean(distances), rel=1e-6, abs=1e-7)


def test_it_says_which_band_is_odd() -> None:
    train = embedded_of(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)))
    odd = embedded_of(train.embedding[:1] + 5 * torch.eye(8)[3], clip_index=torch.tensor([99]))
    scorer = build_scorer(BandKnnConfig())
    scorer.fit(train)
    apart = scorer.band_distances(scorer.models[0], odd)
    assert apart.argmax() == 3
    assert apart[0, 3] > 100 * apart[0, :3].max()


def test_clips_of_one_recording_are_no_neighbours_in_any_band() -> None:
    clips = dataclasses.replace(embedded_of(torch.arange(12.0).reshape(6, 2)), recording=torch.arange(6) // 2)
    scorer = build_scorer(BandKnnConfig())
    scorer.fit(clips)
    assert scorer.score_normal(clips, clips).tolist() == [4.0, 2.0, 2.0, 2.0, 2.0, 4.0]


@pytest.mark.parametrize("seed", range(40))
def test_sorted_values_have_the_neighbours_that_comparing_with_all_finds(seed: int) -> None:
    """Few values and few recordings: equal ones, bands without another recording, runs of the query's own."""
    random = np.random.default_rng(seed)
    clips, known, bands = random.integers(1, 12, 3)
    query, bank = (torch.from_numpy(random.integers(-4, 5, (bands, n, 1)) / 3) for n in (clips, known))
    group, bank_group = (torch.from_numpy(random.integers(0, 3, n)) for n in (clips, known))
    found = nearest_value(query, group, bank, bank_group)
    assert found.equal(nearest_point(query, group, bank, bank_group))


def test_large_banks_are_sorted_a_few_bands_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted_scores(BandKnnConfig(), TRAIN, TEST)
    monkeypatch.setattr("asd.scorers.band_knn.BLOCK", 1)
    assert np.array_equal(fitted_scores(BandKnnConfig(), TRAIN, TEST), whole)
    monkeypatch.setattr("asd.scorers.band_knn.SORT_FROM", len(TEST) + 1)
    assert np.array_equal(fitted_scores(BandKnnConfig(), TRAIN, TEST), whole)


# ---- PCA residual --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", [0.3, 0.9, 0.999])
def test_residual_is_that_of_scikit_learns_pca(variance: float) -> None:
    train, test = (clips.select(clips.class_index == 0) for clips in (TRAIN, TEST))
    pca = PCA(variance, svd_solver="full").fit(train.embedding.double().numpy())
    rows = test.embedding.double().numpy()
    expected = np.linalg.norm(rows - pca.inverse_transform(pca.transform(rows)), axis=1)
    np.testing.assert_allclose(fitted_scores(PcaResidualConfig(variance=variance), train, test), expected, atol=1e-12)


def test_without_axes_it_is_the_distance_to_the_mean() -> None:
    train, test = (clips.select(clips.class_index == 1) for clips in (TRAIN, TEST))
    expected = (test.embedding.double() - train.embedding.double().mean(0)).norm(dim=1)
    np.testing.assert_allclose(fitted_scores(PcaResidualConfig(variance=0), train, test), expected, rtol=1e-9)


@pytest.mark.parametrize("config", [PcaResidualConfig(), BandKnnConfig()], ids=scorer_label)
@pytest.mark.parametrize("clips", [1, 4])
def test_one_clip_or_equal_ones_give_the_distance(config: ScorerConfig, clips: int) -> None:
    train = embedded_of(torch.full((clips, 3), 2.0))
    test = embedded_of(torch.tensor([[2.0, 2.0, 2.0], [2.0, 2.0, 5.0]]), clip_index=torch.tensor([50, 51]))
    distance = 3.0 if isinstance(config, PcaResidualConfig) else 1.0  # of whole rows, or the mean over three bands
    np.testing.assert_allclose(fitted_scores(config, train, test), [0.0, distance], atol=1e-9)
