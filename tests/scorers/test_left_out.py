"""Normal clips are scored as if nothing of their recording had been learnt."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from asd.scorers import (
    BandKnnConfig,
    CentroidConfig,
    DomainKnnConfig,
    EmbeddingTable,
    GmmConfig,
    KnnConfig,
    LocalKnnConfig,
    LofConfig,
    MahalanobisConfig,
    PcaResidualConfig,
    ScorerConfig,
    SelectiveMahalanobisConfig,
    SoftmaxConfig,
    UntrainedKnnConfig,
    build_scorer,
    scorer_label,
)
from asd.scorers.folds import FOLDS, fold_of
from asd.scorers.residuals import ResidualMoments, group_of
from tests.support.scored import fitted_scores, recorded

BANKS = [
    BandKnnConfig(),
    KnnConfig(),
    KnnConfig(k=3, metric="euclidean"),
    UntrainedKnnConfig(),
    UntrainedKnnConfig(level="normalised"),
]
DENSITIES = [LocalKnnConfig(), LofConfig(k=3)]
FITTED = [
    CentroidConfig(),
    MahalanobisConfig(),
    MahalanobisConfig(per="domain"),
    GmmConfig(components=1),
    GmmConfig(),
    PcaResidualConfig(),
    DomainKnnConfig(),
    DomainKnnConfig(mem_mixup=3, density="sum", target_density_k=2, cluster_exit=80),
]
ON_SCALE = [DomainKnnConfig(density="mean", nearer="z_score")]  # of scores against other recordings


def normal_scores(config: ScorerConfig, train: EmbeddingTable, normal: EmbeddingTable) -> np.ndarray:
    scorer = build_scorer(config)
    scorer.fit(train)
    return scorer.score_normal(normal, train)


@pytest.mark.parametrize(
    ("config", "recordings", "clips_each"),
    [(config, 4, 3) for config in [*BANKS, *DENSITIES, *FITTED, *ON_SCALE]] + [(config, 10, 1) for config in DENSITIES],
    ids=lambda value: str(value) if isinstance(value, int) else scorer_label(value),
)
def test_a_recording_is_scored_by_what_the_others_taught(config, recordings, clips_each):
    train = recorded(recordings, clips_each, seed=0)
    found = normal_scores(config, train, train)
    for own in train.recording.unique():
        its = train.recording == own
        expected = fitted_scores(config, train.select(~its), train.select(its))
        np.testing.assert_allclose(found[its], expected, rtol=1e-6)


@pytest.mark.parametrize("config", [*BANKS, *DENSITIES, *FITTED, *ON_SCALE, SoftmaxConfig()], ids=scorer_label)
def test_a_recording_that_was_not_learnt_from_is_scored_by_all(config):
    train, new = recorded(3, 4, seed=1), recorded(2, 4, seed=2, first=1000)
    both = normal_scores(config, train, train.join(new))
    np.testing.assert_allclose(both[len(train) :], fitted_scores(config, train, new), rtol=1e-9)
    np.testing.assert_allclose(both[: len(train)], normal_scores(config, train, train), rtol=1e-9)


@pytest.mark.parametrize("config", [*BANKS, *DENSITIES, *FITTED, *ON_SCALE], ids=scorer_label)
def test_the_only_recording_of_a_class_has_no_score(config):
    one, three = recorded(1, 6, seed=3), recorded(3, 6, seed=4, first=500)
    train = one.select(one.class_index == 0).join(three.select(three.class_index == 1))
    found = normal_scores(config, train, train)
    assert np.isnan(found[train.class_index == 0]).all()
    assert np.isfinite(found[train.class_index == 1]).all()


@pytest.mark.parametrize("config", [*BANKS, *DENSITIES, *FITTED], ids=scorer_label)
def test_scores_of_test_clips_do_not_know_of_recordings(config):
    train, test = recorded(4, 3, seed=5), recorded(2, 3, seed=6, first=1000)
    clips = dataclasses.replace(train, recording=train.clip_index)
    assert (fitted_scores(config, train, test) == fitted_scores(config, clips, test)).all()


@pytest.mark.parametrize("config", [*BANKS, *DENSITIES], ids=scorer_label)
def test_clips_of_one_recording_never_look_normal_by_each_other(config):
    train = recorded(4, 5, seed=7)
    clips = dataclasses.replace(train, recording=train.clip_index)
    apart, by_clip = normal_scores(config, train, train), normal_scores(config, clips, clips)
    assert np.median(apart) > 5 * np.median(by_clip)


@pytest.mark.parametrize("config", FITTED, ids=scorer_label)
def test_many_recordings_take_few_fits(config, monkeypatch):
    scorer, train = build_scorer(config), recorded(40, 2, seed=8)
    scorer.fit(train)
    sizes: list[int] = []
    fit_class = type(scorer).fit_class
    monkeypatch.setattr(type(scorer), "fit_class", lambda self, part: sizes.append(len(part)) or fit_class(self, part))
    assert np.isfinite(scorer.score_normal(train, train)).all()
    assert len(sizes) == 2 * FOLDS
    assert min(sizes) >= len(train) / 2 * (1 - 1 / FOLDS)


def test_residuals_of_a_recording_are_left_out_of_the_covariance():
    """Each clip has one residual vector, its embedding."""
    train = recorded(4, 6, seed=9, windows=1)

    def moments(clips: EmbeddingTable) -> ResidualMoments:
        found, fold = ResidualMoments.zeros(2, 5, torch.device("cpu")), fold_of(train.class_index, train.recording)
        kept = torch.isin(train.clip_index, clips.clip_index)
        group = group_of(clips.class_index, clips.domain) + fold[kept] * (len(found.count) // FOLDS)
        found.add(clips.embedding[:, None], group, torch.ones(len(clips), dtype=torch.bool))
        order = clips.recording.argsort()
        return dataclasses.replace(found, recording=clips.recording[order], fold=fold[kept][order])

    config = SelectiveMahalanobisConfig()
    all_of_them = dataclasses.replace(train, residuals=moments(train))
    scores = normal_scores(config, all_of_them, all_of_them)
    for own in train.recording.unique():
        its = train.recording == own
        others = train.select(~its)
        expected = fitted_scores(config, dataclasses.replace(others, residuals=moments(others)), train.select(its))
        np.testing.assert_allclose(scores[its], expected, rtol=1e-6)
    new = recorded(1, 3, seed=10, first=1000, windows=1)
    np.testing.assert_allclose(normal_scores(config, all_of_them, new), fitted_scores(config, all_of_them, new))
    assert np.median(scores) > 2 * np.median(fitted_scores(config, all_of_them, train))


def test_recordings_of_a_class_take_turns():
    own = torch.tensor([1, 0, 1, 1, 0, 1, 1, 1, 1])
    recording = torch.tensor([70, 9, 30, 70, 2, 50, 60, 40, 80])
    assert fold_of(own, recording).tolist() == [4, 1, 0, 4, 0, 2, 3, 1, 0]
