"""Sums of residuals against numpy's covariance of all vectors at once."""

import numpy as np
import pytest
import safetensors.torch
import torch

from asd.data import manifest
from asd.scorers.residuals import DOMAINS, MIN_VARIANCE, ResidualMoments, group_of

CLASSES, BINS, FRAMES = 2, 5, 9
CPU = torch.device("cpu")


def clips(count: int = 40):
    """Residuals (count, FRAMES, BINS) with a mean and correlated bins, class, domain and what is counted."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(BINS, BINS, generator=generator)
    residuals = torch.randn(count, FRAMES, BINS, generator=generator) @ mixing + 3.0
    own = torch.arange(count) % CLASSES
    domain = torch.where(torch.arange(count) % 5 == 0, 2, 1)
    return residuals, own, domain, torch.rand(count, generator=generator) < 0.7


def gathered(parts: list[torch.Tensor], **changes: torch.Tensor) -> ResidualMoments:
    """The sums over the clips that each part names, one batch a part."""
    residuals, own, domain, counted = clips()
    residuals = changes.get("residuals", residuals)
    found = ResidualMoments.zeros(CLASSES, BINS, CPU)
    for part in parts:
        found.add(residuals[part], group_of(own[part], domain[part]), counted[part])
    return found


def numpy_covariance(own_class: int, own_domain: int) -> np.ndarray:
    residuals, own, domain, counted = clips()
    vectors = residuals[counted & (own == own_class) & (domain == own_domain)]
    return np.cov(vectors.flatten(0, 1).double().numpy().T)


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_covariance_equals_numpy_whatever_the_batches(batch):
    found = gathered(list(torch.randperm(40).split(batch)))
    for own in range(CLASSES):
        for domain in (1, 2):
            np.testing.assert_allclose(found.covariance(own, domain), numpy_covariance(own, domain), rtol=1e-9)
        assert found.covariance(own, 0) is None


def test_the_sums_of_two_ranks_add_up():
    order = torch.randperm(40)
    one, other = gathered(list(order[:23].split(8))), gathered(list(order[23:].split(8)))
    both = ResidualMoments(one.count + other.count, one.total + other.total, one.square + other.square)
    np.testing.assert_allclose(both.covariance(1, 2), numpy_covariance(1, 2), rtol=1e-9)


def test_clips_that_are_not_counted_weigh_nothing_whatever_they_hold():
    residuals, _, _, counted = clips()
    residuals[~counted] = torch.nan
    residuals[(~counted).nonzero()[0], 2] = torch.inf
    found, plain = gathered(list(torch.arange(40).split(6)), residuals=residuals), gathered([torch.arange(40)])
    for name in ("count", "total", "square"):
        torch.testing.assert_close(getattr(found, name), getattr(plain, name), rtol=1e-12, atol=1e-12)


def test_half_precision_residuals_are_summed_in_float64():
    residuals = torch.full((1, 3000, 1), 100.0, dtype=torch.bfloat16)
    found = ResidualMoments.zeros(1, 1, CPU)
    found.add(residuals, torch.tensor([0]), torch.tensor([True]))
    assert (found.count[0].item(), found.total[0].item(), found.square[0].item()) == (3000, 300_000, 30_000_000)


def test_fewer_than_two_vectors_have_no_covariance():
    for vectors in (0, 1, 2):
        found = ResidualMoments.zeros(1, 2, CPU)
        found.add(torch.randn(1, vectors, 2), torch.tensor([1]), torch.tensor([True]))
        assert (found.covariance(0, 1) is None) == (found.whitening(0, 1) is None) == (vectors < 2)


def test_whitening_is_a_root_of_the_inverse():
    whitening = gathered([torch.arange(40)]).whitening(0, 1)
    np.testing.assert_allclose(whitening @ whitening.T, np.linalg.inv(numpy_covariance(0, 1)), rtol=1e-8)


def test_whitening_where_vectors_do_not_spread():
    found = ResidualMoments.zeros(1, 3, CPU)
    vectors = torch.randn(1, 500, 3)
    vectors[..., 2] = 4.0
    found.add(vectors, torch.tensor([0]), torch.tensor([True]))
    x = vectors[0].double().numpy()
    whitening = found.whitening(0, 0)
    inside = np.array([0.3, -2.0, 0.0])
    expected = inside[:2] @ np.linalg.inv(np.cov(x[:, :2].T)) @ inside[:2]
    assert np.square(inside @ whitening.numpy()).sum() == pytest.approx(expected, rel=1e-6)
    across = np.square(np.array([0.0, 0.0, 1.0]) @ whitening.numpy()).sum()
    assert across == pytest.approx(1 / (MIN_VARIANCE * np.square(x).sum(1).mean()), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 3e-20, 1e4])
def test_whitening_of_equal_vectors_is_finite(value):
    found = ResidualMoments.zeros(1, 4, CPU)
    found.add(torch.full((2, 50, 4), value), torch.tensor([0, 0]), torch.tensor([True, True]))
    assert found.whitening(0, 0).isfinite().all()


def test_round_trip_through_safetensors(tmp_path):
    before = gathered([torch.arange(40)])
    safetensors.torch.save_file(before.to_tensors(), tmp_path / "x.safetensors")
    after = ResidualMoments.from_tensors(safetensors.torch.load_file(tmp_path / "x.safetensors"))
    for name in ("count", "total", "square"):
        assert torch.equal(getattr(after, name), getattr(before, name))
    assert ResidualMoments.from_tensors({"fit.embedding": torch.zeros(1)}) is None


def test_groups_are_those_of_the_manifests_domains():
    assert len(manifest.DOMAINS) == DOMAINS
    own, domain = torch.arange(6) // 3, torch.arange(6) % 3
    assert group_of(own, domain).tolist() == list(range(6))
