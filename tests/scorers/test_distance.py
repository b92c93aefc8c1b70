"""Scorers of neighbours: no row is compared with rows of its own clip. Against loops over all pairs of rows."""

import dataclasses

import numpy as np
import pytest
import torch

from asd.scorers import (
    EmbeddingTable,
    KnnConfig,
    LocalKnnConfig,
    LofConfig,
    ScorerConfig,
    UntrainedKnnConfig,
    scorer_label,
)
from asd.scorers.distance import Rows, distance_blocks, mean_of_finite, nearest
from tests.support.embedded import embedded_of
from tests.support.scored import fitted_scores, unit

CONFIGS = [
    KnnConfig(),
    KnnConfig(k=4, metric="euclidean"),
    KnnConfig(k=500),
    LocalKnnConfig(k=2),
    LocalKnnConfig(k=500, density_k=2, normalisation="difference", metric="euclidean"),
    LocalKnnConfig(density_k=500),
    LofConfig(k=3),
    LofConfig(k=500, metric="euclidean"),
]


def windows(counts: list[int], seed: int, first: int = 0) -> EmbeddingTable:
    """Clips of one class with that many windows each, in no order."""
    generator = torch.Generator().manual_seed(seed)
    rows = sum(counts)
    clip = first + torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return embedded_of(
        torch.randn(rows, 5, generator=generator) + 1.0, clip_index=clip[torch.randperm(rows, generator=generator)]
    )


TRAIN, TEST = windows([3, 1, 6, 2, 4, 1, 1, 5], 0), windows([2, 1, 3], 1, first=50)


class Loop:
    """A scorer's definition, one row after the other."""

    def __init__(self, config: ScorerConfig, train: EmbeddingTable) -> None:
        self.config, self.clip = config, train.clip_index.numpy()
        self.rows = train.embedding.double().numpy()

    def neighbours(self, row: np.ndarray, clip: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of all rows of other clips, nearest first, and their distances."""
        if self.config.metric == "cosine":
            distance = np.array([1 - unit(row) @ unit(other) for other in self.rows])
        else:
            distance = np.array([np.linalg.norm(row - other) for other in self.rows])
        order = np.array([i for i in np.argsort(distance, kind="stable") if self.clip[i] != clip], dtype=int)
        return order, distance[order]

    def score(self, test: EmbeddingTable) -> list[float]:
        rows, clips = test.embedding.double().numpy(), test.clip_index.tolist()
        return [getattr(self, self.config.name)(*self.neighbours(r, c)) for r, c in zip(rows, clips, strict=True)]

    def knn(self, order: np.ndarray, distance: np.ndarray) -> float:
        return distance[: self.config.k].mean()

    def local_knn(self, order: np.ndarray, distance: np.ndarray) -> float:
        among = [self.neighbours(r, c)[1] for r, c in zip(self.rows, self.clip, strict=True)]
        density = np.array([d[: self.config.density_k].mean() for d in among])[order]
        normalised = distance / density if self.config.normalisation == "ratio" else distance - density
        return np.sort(normalised)[: self.config.k].mean()

    def lof(self, order: np.ndarray, distance: np.ndarray) -> float:
        k = min(self.config.k, len(self.rows) - 1)
        among = [self.neighbours(r, c) for r, c in zip(self.rows, self.clip, strict=True)]
        reach = np.array([d[:k][-1] for _, d in among])
        density = np.array([1 / np.maximum(d[:k], reach[o[:k]]).mean() for o, d in among])
        return density[order[:k]].mean() * np.maximum(distance[:k], reach[order[:k]]).mean()


@pytest.mark.parametrize("test", [TRAIN, TEST, TRAIN.join(TEST)], ids=["training clips", "others", "both"])
@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_scores_of_windows_equal_a_plain_loop(config, test):
    np.testing.assert_allclose(fitted_scores(config, TRAIN, test), Loop(config, TRAIN).score(test), rtol=1e-9)


@pytest.mark.parametrize("counts", [[5, 1], [1, 1], [2, 3, 1]])
@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_more_neighbours_than_other_clips_have(config, counts):
    train = windows(counts, 3)
    np.testing.assert_allclose(fitted_scores(config, train, train), Loop(config, train).score(train), rtol=1e-9)


@pytest.mark.parametrize("config", [*CONFIGS[:3], UntrainedKnnConfig()], ids=scorer_label)
def test_a_training_clip_scores_as_if_it_had_not_been_there(config):
    clips = dataclasses.replace(TRAIN, features=10 * TRAIN.embedding)
    scores = fitted_scores(config, clips, clips)
    for clip in clips.clip_index.unique():
        own = clips.clip_index == clip
        np.testing.assert_allclose(scores[own], fitted_scores(config, clips.select(~own), clips.select(own)), rtol=1e-9)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("config", [*CONFIGS, UntrainedKnnConfig()], ids=scorer_label)
def test_the_only_clip_of_a_class_has_no_score_and_others_the_plain_distance(config, rows):
    train = windows([rows], 5)
    assert np.isnan(fitted_scores(config, train, train)).all()
    plain = KnnConfig(k=1 if config.name in ("lof", "untrained_knn") else config.k, metric=metric_of(config))
    test, bank = TEST, train
    if config.name == "untrained_knn":  # features of a clip are those of all its windows
        test, bank = (dataclasses.replace(x, features=10 * x.embedding[:1].expand(len(x), -1)) for x in (TEST, train))
        plain_test, plain_bank = (dataclasses.replace(x, embedding=x.features) for x in (test, bank))
        np.testing.assert_allclose(
            fitted_scores(config, bank, test), fitted_scores(plain, plain_bank, plain_test), rtol=1e-6
        )
    else:
        np.testing.assert_allclose(fitted_scores(config, bank, test), fitted_scores(plain, bank, test), rtol=1e-9)


def metric_of(config: ScorerConfig) -> str:
    return getattr(config, "metric", "euclidean")


@pytest.mark.parametrize("config", CONFIGS, ids=scorer_label)
def test_classes_of_equal_clips_can_be_calibrated(config):
    train = embedded_of(torch.full((6, 4), 0.3), clip_index=torch.tensor([0, 0, 1, 1, 2, 3]))
    scores = fitted_scores(config, train, train)
    assert np.isfinite(scores).all() and np.ptp(scores) < 1e-9


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_blocks_leave_out_the_own_clip_in_every_block(metric):
    generator = torch.Generator().manual_seed(0)
    space, clip = torch.randn(1300, 3, generator=generator).double(), torch.arange(1300) // 5
    space = torch.nn.functional.normalize(space, dim=1)
    rows = Rows(space, clip)
    blocks = list(distance_blocks(rows, rows, metric))
    assert [len(block) for block in blocks] == [1024, 276]
    distances = torch.cat(blocks)
    same = clip[:, None] == clip
    assert torch.equal(distances.isinf(), same)
    plain = 1 - space @ space.T if metric == "cosine" else torch.cdist(space, space)
    torch.testing.assert_close(distances[~same], plain[~same], rtol=1e-6, atol=1e-7)


def test_clips_of_other_indices_are_compared_with_all_rows():
    rows = Rows(torch.eye(4, dtype=torch.float64), torch.arange(4))
    (block,) = distance_blocks(Rows(rows.space, rows.group + 4), rows, "cosine")
    assert torch.equal(block, 1 - torch.eye(4, dtype=torch.float64))


def test_nearest_and_the_mean_of_what_is_finite():
    inf = torch.inf
    block = torch.tensor([[3.0, 1.0, inf, 2.0], [inf, inf, inf, 5.0], [inf, inf, inf, inf]])
    values, indices = nearest(block, 3)
    assert (values[0].tolist(), indices[0].tolist()) == ([1.0, 2.0, 3.0], [1, 3, 0])
    assert nearest(block, 9)[0].shape == (3, 4)
    assert mean_of_finite(values)[:2].tolist() == [2.0, 5.0]
    assert mean_of_finite(values)[2].isnan()


@pytest.mark.parametrize("k", [1, 2, 3, 10, 20])
@pytest.mark.parametrize("columns", [20, 47, 100, 163, 400])
def test_the_nearest_are_the_first_of_all_sorted(k, columns):
    block = torch.rand(30, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(columns))
    block[:, 5] = torch.inf  # of the own clip
    values, indices = nearest(block, k)
    assert torch.equal(values, block.sort(dim=1).values[:, :k])
    assert torch.equal(block.gather(1, indices), values)
