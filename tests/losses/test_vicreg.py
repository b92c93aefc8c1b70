"""VICReg with a mixture against numpy, its identities, and batches that are degenerate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asd.losses.vicreg import VICRegConfig, covariance_term, covariances, variance_term, vicreg

N, D = 40, 12


def outputs(scale: float = 0.7, rows: int = N) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [scale * torch.randn(rows, D, generator=g) + torch.randn(D, generator=g) for _ in range(3)]


def shares(rows: int = N) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).beta(0.5, 0.5, rows).astype(np.float32))


def by_numpy(first, second, mixture, weight) -> tuple[float, float, float]:
    """(invariance, variance, covariance) in float64."""
    a, b, m, w = (t.double().numpy() for t in (first, second, mixture, weight))
    invariance = np.mean((m - (w[:, None] * a + (1 - w[:, None]) * b)) ** 2)
    variance = covariance = 0.0
    for z in (a, b):
        variance += np.mean(np.maximum(0, 1 - np.sqrt(np.var(z, axis=0, ddof=1) + 1e-4)))
        c = np.cov(z, rowvar=False)
        covariance += sum(c[i, j] ** 2 for i in range(D) for j in range(D) if i != j) / D
    return invariance, variance, covariance


@pytest.mark.parametrize("scale", [0.1, 0.7, 2.0])
def test_terms_equal_numpy(scale):
    z, weight = outputs(scale), shares()
    terms = vicreg(VICRegConfig(), *z, weight)
    expected = by_numpy(*z, weight)
    found = [terms.invariance.item(), terms.variance.item(), terms.covariance.item()]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert terms.loss.item() == pytest.approx(25 * expected[0] + 25 * expected[1] + expected[2], rel=1e-4)


def test_each_factor_multiplies_its_term():
    z, weight = outputs(), shares()
    terms = vicreg(VICRegConfig(gamma=2, mu=3, nu=5), *z, weight)
    assert terms.loss.item() == pytest.approx(
        2 * terms.invariance.item() + 3 * terms.variance.item() + 5 * terms.covariance.item(), rel=1e-5
    )


def test_at_weight_1_it_is_vicregs_own_invariance():
    """s(Z, Z_λ) as F.mse_loss; and 0 where the mixture is the first input."""
    first, second, mixture = outputs()
    terms = vicreg(VICRegConfig(), first, second, mixture, 1.0)
    torch.testing.assert_close(terms.invariance, torch.nn.functional.mse_loss(mixture, first))
    assert vicreg(VICRegConfig(), first, second, first, torch.ones(N)).invariance.item() == 0


def test_orthogonal_whitened_data_costs_nothing():
    """Columns of ±1.1: uncorrelated exactly, standard deviation above 1."""
    signs = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    hadamard = torch.kron(torch.kron(torch.kron(signs, signs), signs), signs)[
        :, 1:
    ]  # without the column that is constant
    white = 1.1 * hadamard + 7
    counted = torch.ones(len(white))
    assert covariance_term(covariances(white, counted)).item() == pytest.approx(0, abs=1e-10)
    assert variance_term(covariances(white, counted)).item() == 0
    narrow = variance_term(covariances(white / 11, counted))  # standard deviation 0.1·sqrt(16/15)
    assert narrow.item() == pytest.approx(1 - (0.01 * 16 / 15 + 1e-4) ** 0.5, abs=1e-5)


def test_twice_the_same_column_costs_its_variance_squared():
    column = torch.randn(30, generator=torch.Generator().manual_seed(2))
    pair = torch.stack([column, column], 1)
    expected = column.var().square() * 2 / 2  # two entries off the diagonal, D = 2
    torch.testing.assert_close(covariance_term(covariances(pair, torch.ones(30))), expected)


@pytest.mark.parametrize("rows", [1, 2, N])
def test_constant_batches_have_finite_gradients(rows):
    z = [torch.full((rows, D), value, requires_grad=True) for value in (0.0, 1.0, 0.5)]
    terms = vicreg(VICRegConfig(), *z, 0.5)
    assert terms.variance.item() == pytest.approx(2 * (1 - 1e-2), abs=1e-5)
    terms.loss.backward()
    assert all(t.grad.isfinite().all() for t in z)


def test_pairs_that_do_not_count_are_as_if_they_were_not_there():
    z, weight = outputs(), shares()
    valid = torch.arange(N) % 5 != 2
    with_gaps = [t.clone().requires_grad_() for t in z]
    without = [t[valid].clone().requires_grad_() for t in z]
    gaps = vicreg(VICRegConfig(), *with_gaps, weight, valid)
    dropped = vicreg(VICRegConfig(), *without, weight[valid])
    torch.testing.assert_close(gaps.loss, dropped.loss)
    gaps.loss.backward()
    dropped.loss.backward()
    for a, b in zip(with_gaps, without, strict=True):
        torch.testing.assert_close(a.grad[valid], b.grad)
        assert a.grad[~valid].abs().max() == 0


def test_it_is_computed_in_float32_inside_autocast():
    z, weight = outputs(), shares()
    expected = vicreg(VICRegConfig(), *z, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = vicreg(VICRegConfig(), *z, weight)
    assert inside.loss.equal(expected.loss)
    half = vicreg(VICRegConfig(), *(t.bfloat16() for t in z), weight)
    assert half.loss.dtype == torch.float32


def test_it_spreads_a_collapsed_batch():
    """Gradient steps on the outputs themselves: from almost constant to uncorrelated with standard deviation 1."""
    z = [t.mul(0.01).requires_grad_() for t in outputs()]
    sgd = torch.optim.SGD(z, lr=2.0)
    first = vicreg(VICRegConfig(), *z, shares())
    for _ in range(300):
        sgd.zero_grad()
        terms = vicreg(VICRegConfig(), *z, shares())
        terms.loss.backward()
        sgd.step()
    assert first.variance > 1.9 and terms.variance < 0.02
    assert terms.invariance < 0.01 and terms.covariance < 0.01
