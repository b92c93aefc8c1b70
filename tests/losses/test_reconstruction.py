"""Errors of reconstructions and of predicted samples, and their summaries, against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from asd.losses.reconstruction import SUMMARIES, sample_cross_entropy, squared_errors, summaries


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 5, 640), (2, 7, 4, 6), (1, 1, 1)])
def test_errors_equal_numpy(shape):
    reconstruction, target = drawn(*shape), drawn(*shape, seed=1)
    difference = reconstruction.double().numpy() - target.double().numpy()
    expected = (difference**2).reshape(*shape[:2], -1).mean(2)
    errors = squared_errors(reconstruction, target)
    np.testing.assert_allclose(errors.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("parts", [1, 2, 5, 6, 313])
def test_summaries_equal_numpy(parts):
    errors = drawn(4, parts).square()
    ours, e = summaries(errors), errors.double().numpy()
    expected = np.stack([e.mean(1), np.median(e, axis=1), e.std(axis=1)], 1)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert len(SUMMARIES) == ours.shape[1]


def test_an_error_that_is_not_finite_shows_in_every_summary_of_its_clip_alone():
    errors = drawn(2, 5).square()
    errors[0, 3] = math.nan
    assert summaries(errors).isnan().tolist() == [[True] * 3, [False] * 3]


def test_sample_cross_entropy_equals_numpy():
    logits = drawn(2, 256, 50)
    levels = torch.randint(256, (2, 50), generator=torch.Generator().manual_seed(1))
    log_p = logits.double().numpy()
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    expected = [[-log_p[b, level, p] for p, level in enumerate(levels[b].tolist())] for b in range(2)]
    errors = sample_cross_entropy(logits, levels)
    np.testing.assert_allclose(errors.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(summaries(errors)[:, 0].numpy(), np.mean(expected, axis=1), rtol=1e-5)


def test_uniform_predictions_cost_log_l():
    errors = sample_cross_entropy(torch.zeros(1, 256, 3, dtype=torch.bfloat16), torch.tensor([[0, 128, 255]]))
    torch.testing.assert_close(errors, torch.full((1, 3), math.log(256)))
