"""The selective Mahalanobis score against the definition, one pair of frames after the other."""

import dataclasses

import numpy as np
import pytest
import torch

from asd.errors import UserError
from asd.scorers import EmbeddingTable, SelectiveMahalanobisConfig, build_scorer
from asd.scorers.residuals import ResidualMoments, group_of
from tests.support.embedded import embedded_of

CLASSES, BINS, FRAMES = 2, 6, 15
SOURCE, TARGET = 1, 2


@dataclasses.dataclass
class Set:
    """Residuals (N, FRAMES, BINS) of clips, their class and domain."""

    residuals: torch.Tensor
    own: torch.Tensor
    domain: torch.Tensor

    def embedded(self, first: int = 0, counted: torch.Tensor | None = None) -> EmbeddingTable:
        count = len(self.own)
        moments = ResidualMoments.zeros(CLASSES, BINS, torch.device("cpu"))
        everyone = torch.ones(count, dtype=torch.bool)
        moments.add(self.residuals, group_of(self.own, self.domain), everyone if counted is None else counted)
        clips = embedded_of(
            self.residuals.mean(1), class_index=self.own, clip_index=first + torch.arange(count), domain=self.domain
        )
        return dataclasses.replace(clips, residuals=moments)

    def vectors(self, own: int, domain: int) -> np.ndarray:
        return self.residuals[(self.own == own) & (self.domain == domain)].flatten(0, 1).double().numpy()


def make_set(count: int, seed: int, targets: int = 5, frames: int = FRAMES) -> Set:
    """Source and target residuals with a mean and a spread of their own; one clip in `targets` is of the target."""
    generator = torch.Generator().manual_seed(seed)
    shape = torch.Generator().manual_seed(99)
    mixing, mean = torch.randn(3, BINS, BINS, generator=shape), torch.randn(3, BINS, generator=shape)
    own = torch.arange(count) % CLASSES
    domain = torch.where(torch.arange(count) // CLASSES % targets == 0, TARGET, SOURCE)
    level = 1.0 + torch.rand(count, 1, 1, generator=generator)
    residuals = level * torch.randn(count, frames, BINS, generator=generator) @ mixing[domain] + mean[domain][:, None]
    return Set(residuals, own, domain)


TRAIN, TEST = make_set(60, 0), make_set(20, 1)


def scores_of(train: EmbeddingTable, test: EmbeddingTable) -> np.ndarray:
    scorer = build_scorer(SelectiveMahalanobisConfig())
    scorer.fit(train)
    return scorer.score(test)


def mean_over_pairs(frames: np.ndarray, covariance: np.ndarray) -> float:
    inverse = np.linalg.inv(covariance)
    return float(np.mean([[a @ inverse @ b for b in frames] for a in frames]))


def test_scores_are_the_smaller_of_both_domains_means_over_all_pairs_of_frames():
    expected = [
        min(mean_over_pairs(frames.double().numpy(), np.cov(TRAIN.vectors(own, d).T)) for d in (SOURCE, TARGET))
        for frames, own in zip(TEST.residuals, TEST.own.tolist(), strict=True)
    ]
    np.testing.assert_allclose(scores_of(TRAIN.embedded(), TEST.embedded(100)), expected, rtol=1e-5)


def test_each_domain_is_nearest_to_some_clip():
    by_domain = []
    for domain in (SOURCE, TARGET):
        train = TRAIN.embedded(counted=TRAIN.domain == domain)
        by_domain.append(scores_of(train, TEST.embedded(100)))
    both = scores_of(TRAIN.embedded(), TEST.embedded(100))
    np.testing.assert_array_equal(both, np.minimum(*by_domain))
    assert (by_domain[0] < by_domain[1]).any() and (by_domain[1] < by_domain[0]).any()


def test_order_of_the_official_estimate_where_a_batch_holds_all():
    """There Σ is the scatter of frames divided by the number of stacks of frames less one."""
    stack = 5
    expected = []
    for frames, own in zip(TEST.residuals, TEST.own.tolist(), strict=True):
        found = []
        for domain in (SOURCE, TARGET):
            vectors = TRAIN.vectors(own, domain)
            centred = vectors - vectors.mean(0)
            covariance = centred.T @ centred / (len(vectors) / stack - 1)
            found.append(mean_over_pairs(frames.double().numpy(), covariance))
        expected.append(min(found))
    ours = scores_of(TRAIN.embedded(), TEST.embedded(100))
    np.testing.assert_allclose(ours / stack, expected, rtol=0.1)  # n - 1 stacks, not n
    few = [np.argsort(scores) for scores in (ours[TEST.own == 0], np.array(expected)[TEST.own == 0])]
    np.testing.assert_array_equal(*few)


def test_sets_without_domains_or_target_clips_have_one_covariance():
    for domain in (0, SOURCE):
        train = dataclasses.replace(TRAIN, domain=torch.full_like(TRAIN.domain, domain))
        expected = [
            mean_over_pairs(frames.double().numpy(), np.cov(train.vectors(own, domain).T))
            for frames, own in zip(TEST.residuals, TEST.own.tolist(), strict=True)
        ]
        np.testing.assert_allclose(scores_of(train.embedded(), TEST.embedded(100)), expected, rtol=1e-5)


def test_the_unit_of_the_residual_does_not_matter():
    def louder(clips: Set) -> Set:
        return dataclasses.replace(clips, residuals=1024 * clips.residuals)

    expected = scores_of(TRAIN.embedded(), TEST.embedded(100))
    np.testing.assert_allclose(scores_of(louder(TRAIN).embedded(), louder(TEST).embedded(100)), expected, rtol=1e-9)


def test_a_domain_of_next_to_no_frames_does_not_take_over():
    """Two frames spread in one direction; in all others a clip is far from them, so the source domain decides."""
    train = make_set(60, 0, frames=2)
    one_target = (train.domain == TARGET) & (torch.arange(60) < CLASSES)
    counted = (train.domain == SOURCE) | one_target
    alone = scores_of(train.embedded(counted=train.domain == SOURCE), TEST.embedded(100))
    assert one_target.sum() == CLASSES
    np.testing.assert_array_equal(scores_of(train.embedded(counted=counted), TEST.embedded(100)), alone)


def test_a_dead_bin_that_comes_alive_scores_high():
    train, test = make_set(60, 0), make_set(20, 1)
    for clips in (train, test):
        clips.residuals[..., 3] = 0.0
    silent = scores_of(train.embedded(), test.embedded(100))
    test.residuals[7, :, 3] = 0.1
    alive = scores_of(train.embedded(), test.embedded(100))
    assert alive[7] > 100 * silent.max()
    np.testing.assert_array_equal(np.delete(alive, 7), np.delete(silent, 7))


def test_residuals_that_are_missing_are_told():
    clips = TRAIN.embedded()
    with pytest.raises(UserError, match="needs the residuals of a network that reconstructs spectrograms"):
        build_scorer(SelectiveMahalanobisConfig()).fit(dataclasses.replace(clips, residuals=None))
    with pytest.raises(UserError, match="class 1 has fewer than two frames of training clips"):
        build_scorer(SelectiveMahalanobisConfig()).fit(TRAIN.embedded(counted=TRAIN.own == 0))
