"""The KL divergence to a mixed label and the geometric term, in numpy, and where they become something known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from asd.losses.geometric import geometric_error, mixed_label_kl

B, C, D = 9, 6, 20


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes() -> tuple[torch.Tensor, torch.Tensor]:
    first = torch.arange(B) % C
    return first, (first + 1 + torch.arange(B) % 3) % C  # never the same


def test_kl_equals_numpy():
    logits, weight = 3 * drawn(B, C), torch.linspace(0, 1, B)
    first, second = classes()
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    expected = np.zeros(B)
    for row, (a, b, share) in enumerate(zip(first.tolist(), second.tolist(), weight.double().tolist(), strict=True)):
        for target, mass in ((a, share), (b, 1 - share)):
            expected[row] += mass * np.log(mass / p[row, target]) if mass > 0 else 0.0
    np.testing.assert_allclose(mixed_label_kl(logits, first, second, weight).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_kl_of_one_section_is_cross_entropy_whatever_the_weight():
    logits, (first, _) = drawn(B, C), classes()
    kl = mixed_label_kl(logits, first, first, torch.rand(B, generator=torch.Generator().manual_seed(3)))
    torch.testing.assert_close(kl, F.cross_entropy(logits, first, reduction="none"))


def test_kl_is_0_at_the_mixed_label_itself():
    first, second = classes()
    weight = torch.full((B,), 0.3)
    label = 0.3 * F.one_hot(first, C) + 0.7 * F.one_hot(second, C)
    logits = label.clamp(min=1e-9).log().requires_grad_()
    kl = mixed_label_kl(logits, first, second, weight)
    torch.testing.assert_close(kl, torch.zeros(B), rtol=0, atol=1e-6)
    kl.sum().backward()
    assert logits.grad.abs().max() < 1e-6


def test_geometric_error_equals_numpy():
    mixture, first, second = (drawn(B, D, seed=s) for s in range(3))
    weight = torch.linspace(0, 1, B)
    m, a, b, w = (t.double().numpy() for t in (mixture, first, second, weight))
    norms = np.array([np.linalg.norm(m[i] - (w[i] * a[i] + (1 - w[i]) * b[i])) ** 2 for i in range(B)])
    np.testing.assert_allclose(geometric_error(mixture, first, second, weight, "sum").numpy(), norms, rtol=1e-5)
    np.testing.assert_allclose(geometric_error(mixture, first, second, weight).numpy(), norms / D, rtol=1e-5)
    alike = geometric_error(mixture, first, second, torch.full((B,), 0.25))
    assert geometric_error(mixture, first, second, 0.25).equal(alike)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_a_linear_encoder_has_no_geometric_error(share):
    matrix, x, other = drawn(7, D, seed=5), drawn(B, 7), drawn(B, 7, seed=1)
    mixed = share * x + (1 - share) * other
    error = geometric_error(mixed @ matrix, x @ matrix, other @ matrix, torch.full((B,), share))
    assert error.max() < 1e-10
    assert geometric_error((mixed @ matrix).relu(), (x @ matrix).relu(), (other @ matrix).relu(), share).shape == (B,)


def test_all_three_embeddings_learn():
    embeddings = [drawn(B, D, seed=s).requires_grad_() for s in range(3)]
    geometric_error(*embeddings, 0.4).sum().backward()
    assert all(e.grad.abs().min() > 0 for e in embeddings)
