"""`fused`: members on the scale of left-out training clips, straight from the definition, and with next to no clips."""

from __future__ import annotations

import dataclasses

import numpy as np
import pydantic
import pytest
import torch

from asd.errors import UserError
from asd.scorers import (
    BandKnnConfig,
    CentroidConfig,
    EmbeddingTable,
    FusedConfig,
    GmmConfig,
    KnnConfig,
    MahalanobisConfig,
    SoftmaxConfig,
    UntrainedKnnConfig,
    build_scorer,
    scorer_label,
    views,
)
from asd.scorers.learnt import learnt
from asd.scorers.members import MemberConfig
from asd.scorers.state import restored, state_of
from tests.support.embedded import embedded_of
from tests.support.scored import TEST, TRAIN, fitted_scores, recorded

MEMBERS = (KnnConfig(), MahalanobisConfig(space="raw"), SoftmaxConfig(), UntrainedKnnConfig())
RULES = {"median": np.median, "mean": np.mean, "max": np.max, "min": np.min}
CONFIG = pydantic.TypeAdapter(FusedConfig)


def left_out(config: MemberConfig, train: EmbeddingTable) -> np.ndarray:
    scorer = build_scorer(config)
    scorer.fit(train)
    return scorer.score_normal(train, train)


def expected(by: str, train: EmbeddingTable, test: EmbeddingTable, without: int | None = None) -> np.ndarray:
    """without: a recording that the scale knows nothing of."""
    columns = []
    for member in MEMBERS:
        known, found = left_out(member, train), fitted_scores(member, train, test)
        for own in test.class_index.unique():
            scale = known[(train.class_index == own) & (train.recording != without)]
            rows = test.class_index == own
            found[rows] = (found[rows] - scale.mean()) / scale.std(ddof=1)
        columns.append(found)
    return RULES[by](columns, axis=0)


@pytest.mark.parametrize("by", RULES)
@pytest.mark.parametrize("count", [3, 4])
def test_it_is_the_middle_of_members_on_one_scale(by: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_fused.MEMBERS", MEMBERS[:count])
    config = FusedConfig(members=MEMBERS[:count], by=by)
    np.testing.assert_allclose(fitted_scores(config, TRAIN, TEST), expected(by, TRAIN, TEST), rtol=1e-9)


def test_the_unit_of_a_member_does_not_matter() -> None:
    """Its scores 128 times as large, exactly, are the same ones."""
    config = FusedConfig(members=(KnnConfig(metric="euclidean"), UntrainedKnnConfig()))
    larger = [dataclasses.replace(clips, features=128 * clips.features) for clips in (TRAIN, TEST)]
    np.testing.assert_allclose(fitted_scores(config, *larger), fitted_scores(config, TRAIN, TEST), rtol=1e-6)


def test_parts_are_what_each_member_says() -> None:
    scorer = build_scorer(FusedConfig(members=MEMBERS, by="mean"))
    scorer.fit(TRAIN)
    parts = scorer.parts(TEST).numpy()
    assert parts.shape == (len(TEST), len(MEMBERS))
    np.testing.assert_allclose(parts.mean(1), scorer.score(TEST), rtol=1e-12)
    alone = [fitted_scores(FusedConfig(members=(member,)), TRAIN, TEST) for member in MEMBERS]
    np.testing.assert_allclose(parts.T, alone, rtol=1e-12)


def test_a_recording_is_scored_by_members_and_on_a_scale_that_do_not_know_it() -> None:
    train, new = recorded(8, 2, seed=0), recorded(2, 2, seed=1, first=1000)
    members = (KnnConfig(metric="euclidean"), BandKnnConfig())
    scorer = build_scorer(FusedConfig(members=members, by="mean"))
    scorer.fit(train)
    found = scorer.score_normal(train.join(new), train)
    known = [left_out(member, train) for member in members]
    for own in train.recording.unique():
        its = (train.recording == own).numpy()
        others = (train.class_index == train.class_index[its][0]).numpy() & ~its
        z = [(column[its] - column[others].mean()) / column[others].std(ddof=1) for column in known]
        np.testing.assert_allclose(found[: len(train)][its], np.mean(z, axis=0), rtol=1e-9)
    np.testing.assert_allclose(found[len(train) :], scorer.score(new), rtol=1e-9)


def test_it_is_the_same_after_its_state_was_stored() -> None:
    config = FusedConfig(members=(*MEMBERS, GmmConfig()), views=("low", "high"))
    train, test = (dataclasses.replace(x, views={"low": (0, 2, 2), "high": (2, 6, 2)}) for x in (TRAIN, TEST))
    scorer = build_scorer(config)
    scorer.fit(train)
    again = restored(config, state_of(config, scorer))
    np.testing.assert_allclose(again.score(test), scorer.score(test), rtol=1e-12)
    one = test.select(test.class_index == 1)
    alone = restored(config, {1: state_of(config, scorer)[1]})
    np.testing.assert_allclose(alone.score(one), scorer.score(one), rtol=1e-12)


@pytest.mark.parametrize("change", [lambda members: members[:-1], lambda members: (*members, None)])
def test_a_state_of_other_members_is_refused(change) -> None:
    config = FusedConfig(members=MEMBERS)
    scorer = build_scorer(config)
    scorer.fit(TRAIN)
    state = {own: (change(members), scale) for own, (members, scale) in state_of(config, scorer).items()}
    with pytest.raises(pydantic.ValidationError):
        restored(config, state)


# ---- what a network has learnt -------------------------------------------------------------------------------------

TRAINED = FusedConfig(
    members=(UntrainedKnnConfig(), MahalanobisConfig(space="raw")), trained=(KnnConfig(), CentroidConfig())
)


def learnable(right: float, seed: int = 0) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Of 3 classes 40 training clips each, a quarter held out, and test clips. A network is right on a share of the
    clips, spectra tell nothing, and clips that the network learnt from lie half as far from each other."""
    random = torch.Generator().manual_seed(seed)
    own, new = torch.arange(3).repeat_interleave(40), torch.arange(120) % 4 == 0
    direction = torch.eye(6)[own]
    embedding = 10 * direction + torch.randn(120, 6, generator=random) * torch.where(new, 1.0, 0.5)[:, None]
    known = torch.rand(120, generator=random) < right
    logits = torch.nn.functional.one_hot(torch.where(known, own, (own + 1) % 3), 3).float()
    features = torch.randn(120, 4, generator=random)
    rows = embedded_of(embedding, own, logits=logits, features=features)
    test = rows.select(torch.arange(0, 120, 5))
    test = dataclasses.replace(test, clip_index=1000 + test.clip_index, recording=1000 + test.clip_index)
    return dataclasses.replace(rows, held_out=new.long()), test


@pytest.mark.parametrize("right", [1.0, 0.3])
def test_trained_members_count_for_the_share_that_they_have_earned(right: float) -> None:
    train, test = learnable(right)
    scorer = build_scorer(TRAINED)
    scorer.fit(train)
    earned = learnt(train)
    assert earned is not None
    assert scorer.share == earned.share
    assert (earned.share > 0.5) == (right == 1)
    parts, share = scorer.parts(test).numpy(), earned.share
    expected = np.median(parts[:, :2], axis=1)
    if share > 0:
        expected = (expected + share * parts[:, 2:].mean(1)) / (1 + share)
    np.testing.assert_allclose(scorer.score(test), expected, rtol=1e-12)
    assert parts.shape[1] == len(scorer.labels) == (4 if share > 0 else 2)
    alone = fitted_scores(TRAINED.model_copy(update={"trained": ()}), train, test)
    assert np.array_equal(scorer.score(test), alone) == (share == 0)


def test_clips_that_a_network_learnt_from_are_scored_as_far_as_held_out_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = learnable(1.0)
    scorer = build_scorer(TRAINED)
    scorer.fit(train)
    new = (train.held_out == 1).numpy()
    found = scorer.score_normal(train, train)
    monkeypatch.setattr("asd.scorers.fused.how_much_farther", lambda scores, _: torch.ones(len(scores), 1))
    scorer.fit(train)
    plain = scorer.score_normal(train, train)
    apart, as_they_are = (abs(scores[new].mean() - scores[~new].mean()) for scores in (found, plain))
    assert apart < as_they_are / 2


def test_what_trained_members_count_is_stored() -> None:
    train, test = learnable(1.0)
    scorer = build_scorer(TRAINED)
    scorer.fit(train)
    again = restored(TRAINED, state_of(TRAINED, scorer))
    np.testing.assert_allclose(again.score(test), scorer.score(test), rtol=1e-12)
    without = TRAINED.model_copy(update={"trained": ()})
    with pytest.raises(pydantic.ValidationError):
        restored(without, state_of(TRAINED, scorer))


def test_trained_members_do_not_stand_alone() -> None:
    with pytest.raises(pydantic.ValidationError, match="fused has no members"):
        CONFIG.validate_python({"name": "fused", "members": [], "trained": [{"name": "knn"}]})
    config = FusedConfig(members=(BandKnnConfig(),), views=("mean",), trained=(KnnConfig(view="network"),))
    assert [scorer_label(member) for member in config.expanded()] == ["band_knn_mean", "knn_network"]


# ---- next to no clips ----------------------------------------------------------------------------------------------


def clips_of(count: int, seed: int = 0) -> EmbeddingTable:
    return embedded_of(10 + torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)))


FEW = FusedConfig(members=(KnnConfig(metric="euclidean"), BandKnnConfig(), MahalanobisConfig(space="raw")))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10])
def test_a_clip_far_away_stands_out_of_any_number(count: int) -> None:
    near = dataclasses.replace(clips_of(5, seed=1), clip_index=100 + torch.arange(5))
    near = dataclasses.replace(near, recording=near.clip_index)
    far = dataclasses.replace(near, embedding=near.embedding + 10)
    scorer = build_scorer(FEW)
    scorer.fit(clips_of(count))
    assert np.isfinite(scorer.score(near)).all()
    assert scorer.score(far).min() > scorer.score(near).max()
    normal = scorer.score_normal(clips_of(count), clips_of(count))
    assert np.isfinite(normal).all() if count > 1 else np.isnan(normal).all()


def test_fewer_than_five_recordings_are_taken_relative_to_their_mean() -> None:
    train = clips_of(2)
    test = dataclasses.replace(clips_of(3, seed=1), clip_index=50 + torch.arange(3), recording=50 + torch.arange(3))
    config = FusedConfig(members=(KnnConfig(metric="euclidean"),))
    apart = float((train.embedding[0] - train.embedding[1]).double().norm())
    plain = fitted_scores(KnnConfig(metric="euclidean"), train, test)
    np.testing.assert_allclose(fitted_scores(config, train, test), plain / apart - 1, rtol=1e-6)


@pytest.mark.parametrize("count", [2, 12])
def test_equal_clips_have_no_scale_and_members_count_as_they_are(count: int) -> None:
    train = embedded_of(torch.ones(count, 4))
    test = embedded_of(torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 3]]), clip_index=torch.tensor([50, 51]))
    scores = fitted_scores(dataclasses_free(FEW), train, test)
    np.testing.assert_allclose(scores, [0.0, 2.0], atol=1e-6)  # of 2, 0.5 and 2


def dataclasses_free(config: FusedConfig) -> FusedConfig:
    """As a yaml would give it."""
    return CONFIG.validate_python(config.model_dump())


# ---- configs -------------------------------------------------------------------------------------------------------


def test_each_member_counts_once_for_every_view() -> None:
    config = FusedConfig(
        members=(BandKnnConfig(), KnnConfig(view="own"), UntrainedKnnConfig()), views=("mean", "mean_level")
    )
    labels = [scorer_label(member) for member in config.expanded()]
    assert labels == ["band_knn_mean", "band_knn_mean_level", "knn_own", "untrained_knn"]
    assert views(config) == {"mean", "mean_level", "own"}
    assert scorer_label(config) == "fused"
    assert scorer_label(FusedConfig(by="mean", called="x")) == "fused_mean_x"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"members": []}, "fused has no members"),
        ({"members": [{"name": "knn"}, {"name": "knn"}]}, "two members with the name knn"),
        ({"members": [{"name": "fused"}]}, "fused"),
        ({"by": "sum"}, "median"),
        ({"called": "a,b"}, "pattern"),
    ],
)
def test_what_cannot_be_fused_is_refused(settings, told) -> None:
    with pytest.raises(pydantic.ValidationError, match=told):
        CONFIG.validate_python({"name": "fused", **settings})


def test_a_class_without_training_clips_is_named() -> None:
    scorer = build_scorer(FusedConfig(members=MEMBERS))
    scorer.fit(TRAIN.select(TRAIN.class_index != 1))
    with pytest.raises(UserError, match="is of class 1, of which there is no training embedding"):
        scorer.score(TEST)
