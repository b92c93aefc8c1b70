"""Cross-entropy to the uniform posterior: its least value, and its meaning as a mean over classes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from asd.losses.outlier import uniform_cross_entropy


@pytest.mark.parametrize("classes", [2, 6, 41])
def test_it_is_least_log_c_where_all_classes_are_equally_likely(classes):
    logits = torch.full((3, classes), 2.5, requires_grad=True)
    loss = uniform_cross_entropy(logits)
    torch.testing.assert_close(loss, torch.full((3,), math.log(classes)))
    loss.sum().backward()
    assert logits.grad.abs().max() < 1e-6
    others = torch.randn(100, classes, generator=torch.Generator().manual_seed(0))
    assert (uniform_cross_entropy(others) > math.log(classes)).all()


def test_it_is_the_mean_of_the_cross_entropies_to_each_class():
    logits = 4 * torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    each = torch.stack([F.cross_entropy(logits, torch.full((8,), c), reduction="none") for c in range(6)])
    torch.testing.assert_close(uniform_cross_entropy(logits), each.mean(0))


def test_half_precision_logits_are_widened_first():
    logits = torch.tensor([[30.0, 0.0, -30.0]], dtype=torch.bfloat16)
    assert uniform_cross_entropy(logits).dtype == torch.float32
    assert uniform_cross_entropy(logits).item() == pytest.approx(30.0, abs=1e-5)
