"""Sub-cluster AdaCos against its formula in float64: values, gradients, soft labels, what does not learn."""

from __future__ import annotations

import math

import numpy as np
import pydantic
import pytest
import torch
import torch.nn.functional as F

from asd.losses import SubClusterAdaCosConfig, build_loss

DIM, CLASSES, K = 12, 7, 16


def loss_of(**settings: object):
    torch.manual_seed(0)
    return build_loss(SubClusterAdaCosConfig(**settings), DIM, CLASSES)


def mixtures(clips: int = 60) -> tuple[torch.Tensor, ...]:
    """Embeddings, first and second class, and the weight of the first."""
    generator = torch.Generator().manual_seed(1)
    first = torch.randint(CLASSES, (clips,), generator=generator)
    return (
        5 * torch.randn(clips, DIM, generator=generator),
        first,
        first.roll(1),
        torch.rand(clips, generator=generator),
    )


def by_hand(x: np.ndarray, w: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """−Σ y·log p in float64, p the shares of the softmax over all centres that fall to each class."""
    cosine = (x / np.linalg.norm(x, axis=1)[:, None]) @ (w / np.linalg.norm(w, axis=1)[:, None]).T
    e = np.exp(math.sqrt(2) * math.log(CLASSES * k - 1) * cosine)
    p = (e / e.sum(1, keepdims=True)).reshape(len(x), CLASSES, k).sum(2)
    return -(labels * np.log(p)).sum(1)


def soft(first: torch.Tensor, second: torch.Tensor, weight: torch.Tensor) -> np.ndarray:
    of = [F.one_hot(x, CLASSES).double() for x in (first, second)]
    return (weight[:, None] * of[0] + (1 - weight[:, None]) * of[1]).numpy()


@pytest.mark.parametrize("k", [2, 16])
def test_is_the_cross_entropy_of_soft_labels(k):
    loss = loss_of(sub_clusters=k)
    embedding, first, second, weight = mixtures()
    assert loss.centres.shape == (CLASSES * k, DIM)
    x, w = (t.detach().double().numpy() for t in (embedding, loss.centres))
    found = loss(embedding, first, second, weight).detach().numpy()
    np.testing.assert_allclose(found, by_hand(x, w, soft(first, second, weight), k), rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_differences():
    """Of embeddings and centres, along random directions, by central differences of the formula in float64."""
    loss = loss_of()
    embedding, first, second, weight = mixtures()
    embedding.requires_grad_()
    loss(embedding, first, second, weight).sum().backward()
    x, w = (t.detach().double().numpy() for t in (embedding, loss.centres))
    labels, rng, step = soft(first, second, weight), np.random.default_rng(0), 1e-5
    for _ in range(5):
        dx, dw = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
        ahead, behind = (by_hand(x + s * dx, w + s * dw, labels, K).sum() for s in (step, -step))
        along = (embedding.grad.numpy() * dx).sum() + (loss.centres.grad.numpy() * dw).sum()
        assert along == pytest.approx((ahead - behind) / (2 * step), rel=1e-4)


def test_probabilities_of_classes_are_those_of_their_sub_clusters():
    loss = loss_of()
    embedding, *_ = mixtures()
    cosine = F.cosine_similarity(embedding[:, None].double(), loss.centres[None].double(), dim=2)
    shares = (math.sqrt(2) * math.log(CLASSES * K - 1) * cosine).softmax(1).unflatten(1, (CLASSES, K)).sum(2)
    torch.testing.assert_close(loss.logits(embedding).softmax(1).double(), shares, rtol=1e-4, atol=1e-6)
    assert loss.scale is None  # its logits are no scaled cosines: no angles are drawn of them


def test_fixed_centres_do_not_learn():
    loss = loss_of(trained=False)
    embedding, first, second, weight = mixtures()
    loss(embedding.requires_grad_(), first, second, weight).sum().backward()
    assert loss.centres.grad is None
    assert embedding.grad.abs().max() > 0
    assert loss.centres.equal(loss_of().centres)
    assert "centres" in loss.state_dict()


def test_is_float32_under_autocast_and_finite_where_all_is_said():
    loss = loss_of()
    embedding, first, second, weight = mixtures()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(embedding.bfloat16(), first, second, weight)
    assert found.equal(loss(embedding.bfloat16().float(), first, second, weight))
    near = loss.centres[:1].detach().clone().requires_grad_()
    own = loss(near, *(torch.zeros(1, dtype=torch.int64),) * 2, torch.ones(1))
    own.sum().backward()
    assert 0 < own.item() < math.log(CLASSES)
    assert near.grad.isfinite().all()


def test_one_sub_cluster_is_refused():
    with pytest.raises(pydantic.ValidationError, match="greater than or equal to 2"):
        SubClusterAdaCosConfig(sub_clusters=1)
