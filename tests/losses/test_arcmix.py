"""ArcMix, Noisy-ArcMix and guided mixup."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.support.losses import CLASSES, mixtures, numpy_cosines, plain, sample


def test_noisy_arcmix_meets_both_targets_with_the_margin_of_the_first():
    margin, scale = 0.7, 30.0
    loss = mixtures(margin, "noisy_arcmix")
    embedding, first = sample()
    second, weight = first.roll(1), torch.rand(len(first), generator=torch.Generator().manual_seed(0))
    rows = np.arange(len(first))
    cosine = numpy_cosines(embedding, loss.centres)
    angle = np.arccos(cosine[rows, first.numpy()])
    logits = scale * cosine
    beyond = scale * (cosine[rows, first.numpy()] - margin * np.sin(np.pi - margin))
    logits[rows, first.numpy()] = np.where(angle + margin < np.pi, scale * np.cos(angle + margin), beyond)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    w = weight.numpy()
    expected = -w * log_p[rows, first.numpy()] - (1 - w) * log_p[rows, second.numpy()]
    ours = loss(embedding, first, second, weight).detach().numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_guided_mixup_shares_the_margin_out():
    margin, scale = 0.7, 30.0
    loss = mixtures(margin, "guided")
    embedding, first, second, weight = mixed_sample()
    share = weight[:, None] * F.one_hot(first, CLASSES) + (1 - weight[:, None]) * F.one_hot(second, CLASSES)
    share = share.double().numpy()
    cosine = numpy_cosines(embedding, loss.centres)
    angle = np.arccos(cosine)
    apply_margin = np.where(angle + margin < np.pi, np.cos(angle + margin), cosine - margin * np.sin(np.pi - margin))
    logits = scale * (share * apply_margin + (1 - share) * cosine)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    ours = loss(embedding, first, second, weight).detach().numpy()
    np.testing.assert_allclose(ours, -(share * log_p).sum(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mixing", ["noisy_arcmix", "guided"])
def test_mixing_rules_agree_where_they_must(mixing):
    embedding, first, second, weight = mixed_sample()
    arcmix, other = mixtures(0.7, "arcmix"), mixtures(0.7, mixing)
    ones = torch.ones(len(first))
    # An unmixed clip, or a mixture of one class, is ArcFace.
    torch.testing.assert_close(other(embedding, first, second, ones), plain(arcmix, embedding, first))
    torch.testing.assert_close(other(embedding, first, first, weight), plain(arcmix, embedding, first))
    # Without a margin all are the cross-entropy of soft labels.
    soft = weight[:, None] * F.one_hot(first, CLASSES) + (1 - weight[:, None]) * F.one_hot(second, CLASSES)
    expected = F.cross_entropy(arcmix.logits(embedding), soft, reduction="none")
    for loss in (mixtures(0.0, "arcmix"), mixtures(0.0, mixing)):
        torch.testing.assert_close(loss(embedding, first, second, weight), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mixing", ["noisy_arcmix", "guided"])
def test_fewer_margins_make_a_mixture_easier_than_arcmix(mixing):
    """Noisy-ArcMix spares the second target its margin, guided mixup spares both a part of theirs."""
    embedding, first, second, weight = mixed_sample()
    different = (first != second) & (weight > 0.01) & (weight < 0.99)
    hard, easier = (mixtures(0.7, rule)(embedding, first, second, weight) for rule in ("arcmix", mixing))
    assert (easier < hard)[different].all()


def mixed_sample() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embeddings with both targets and the weight of the first."""
    embedding, first = sample()
    return embedding, first, first.roll(1), torch.rand(len(first), generator=torch.Generator().manual_seed(0))
