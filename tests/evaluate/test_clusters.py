"""Clusters of embeddings: found where they are, of as many axes and as many as clips support, by fitted rows alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from torch import Tensor

from asd.data.manifest import Manifest
from asd.data.proxy import NO_CLUSTER
from asd.data.pseudo_labels import PseudoLabelsConfig
from asd.evaluate.clusters import cluster, cluster_clips
from tests.support.embedded import embedded_of

GMM, WARD = PseudoLabelsConfig(), PseudoLabelsConfig(by="ward")


def blobs(sizes: list[int], apart: float = 8.0, seed: int = 0) -> tuple[Tensor, np.ndarray]:
    """Rows (n, 30) around centres that lie apart, in no order, and whose each is."""
    rng = np.random.default_rng(seed)
    of_row = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = apart * rng.normal(size=(len(sizes), 30)) / np.sqrt(30)
    return torch.from_numpy(centres[of_row] + rng.normal(size=(len(of_row), 30)) / np.sqrt(30)), of_row


def all_fitted(rows: Tensor) -> Tensor:
    return torch.ones(len(rows), dtype=torch.bool)


def projected(rows: Tensor, axes: int) -> np.ndarray:
    found = PCA(axes, svd_solver="full").fit_transform(rows.numpy())
    return np.asarray(found / np.sqrt(np.mean(found**2)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_mixture_finds_the_clusters_that_there_are(count: int) -> None:
    rows, of_row = blobs([20] * count)
    labels = cluster(rows, all_fitted(rows), False, GMM).numpy()
    assert adjusted_rand_score(of_row, labels) == 1
    assert labels[0] == 0  # numbered in the order of their first rows
    assert len(set(labels.tolist())) == count


def test_their_number_is_that_of_scikit_learns_bic() -> None:
    rows, _ = blobs([30, 30, 40], apart=2.0, seed=3)
    found = projected(rows, 8)
    fits = [GaussianMixture(k, reg_covar=0.01, tol=8e-3, max_iter=200, random_state=0).fit(found) for k in range(1, 6)]
    wanted = min(fits, key=lambda fit: fit.bic(found)).predict(found)
    labels = cluster(rows, all_fitted(rows), False, GMM).numpy()
    assert len(set(wanted.tolist())) > 1
    assert adjusted_rand_score(wanted, labels) == 1


def test_ward_divides_in_any_case_as_scikit_learn_does() -> None:
    rows, _ = blobs([40])
    labels = cluster(rows, all_fitted(rows), False, WARD).numpy()
    assert adjusted_rand_score(AgglomerativeClustering(8).fit_predict(projected(rows, 4)), labels) == 1
    assert len(set(labels.tolist())) == 8  # five clips each


@pytest.mark.parametrize(("config", "is_target", "most"), [(WARD, False, 16), (WARD, True, 2), (GMM, True, 2)])
def test_there_are_no_more_than_allowed(config: PseudoLabelsConfig, is_target: bool, most: int) -> None:
    rows, _ = blobs([30] * 4)
    assert len(cluster(rows, all_fitted(rows), is_target, config).unique()) == most


@pytest.mark.parametrize("config", [GMM, WARD])
@pytest.mark.parametrize("rows", [blobs([1])[0], blobs([3])[0], torch.ones(40, 5, dtype=torch.float64)])
def test_few_clips_or_equal_ones_are_one_cluster(rows: Tensor, config: PseudoLabelsConfig) -> None:
    assert cluster(rows, all_fitted(rows), False, config).tolist() == [0] * len(rows)


@pytest.mark.parametrize("config", [GMM, WARD])
def test_held_out_rows_join_and_change_nothing(config: PseudoLabelsConfig) -> None:
    rows, of_row = blobs([20, 20, 20])
    fitted = torch.arange(60) % 6 != 5
    labels = cluster(rows, fitted, False, config)
    alone = cluster(rows[fitted], all_fitted(rows[fitted]), False, config)
    assert labels[fitted].equal(alone)
    of_cluster = {int(own): int(blob) for own, blob in zip(alone, of_row[fitted.numpy()], strict=True)}
    assert [of_cluster[int(own)] for own in labels[~fitted]] == of_row[~fitted.numpy()].tolist()


def test_each_machine_and_domain_is_divided_by_itself(domain_manifest: Manifest) -> None:
    train = domain_manifest.select("train")
    rows, _ = blobs([len(train)])
    unread = int(train[3])
    read = train[train != unread]
    found = embedded_of(rows.float()[: len(read)], clip_index=torch.from_numpy(read))
    clusters = cluster_clips(found, domain_manifest, "machine", train[:2], WARD)
    assert set(np.flatnonzero(clusters != NO_CLUSTER)) == set(train)
    assert clusters[unread] == 0
    for machine in range(len(domain_manifest.classes)):
        for domain, most in ((1, 3), (2, 1)):  # 16 source clips, 3 of the target
            rows_of = train[
                (domain_manifest.class_index[train] == machine) & (domain_manifest.domain_index[train] == domain)
            ]
            assert 1 <= len(set(clusters[rows_of].tolist())) <= most
            assert 0 in clusters[rows_of]
