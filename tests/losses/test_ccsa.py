"""CCSA against a double loop in float64, and where its formula has an edge: equal embeddings, no pair of a kind."""

from __future__ import annotations

import math

import numpy as np
import pydantic
import pytest
import torch

from asd.losses.ccsa import CCSAConfig, ccsa_terms, squared_distances

MARGIN = 0.5


def batch(shape: tuple[int, ...], spread: float, offset: float = 0.0) -> list[torch.Tensor]:
    """Source and target embeddings (7, …), (5, …), and their classes of three."""
    g = torch.Generator().manual_seed(0)
    source, target = (offset + spread * torch.randn(n, *shape, generator=g) for n in (7, 5))
    return [source, target, torch.randint(3, (7,), generator=g), torch.randint(3, (5,), generator=g)]


def halves(*data: torch.Tensor) -> torch.Tensor:
    """½ semantic + ½ contrastive."""
    semantic, contrastive = ccsa_terms(*data, MARGIN)
    return 0.5 * semantic + 0.5 * contrastive


def double_loop(source, target, source_classes, target_classes, counted=None, divisor="all") -> tuple[float, float]:
    """(semantic, contrastive), pair by pair; as published each is divided by the number of all pairs."""
    semantic, contrastive = [], []
    for i, (a, a_class) in enumerate(zip(source.double().numpy(), source_classes.tolist(), strict=True)):
        for j, (b, b_class) in enumerate(zip(target.double().numpy(), target_classes.tolist(), strict=True)):
            squared = np.mean((a - b) ** 2)
            if counted is not None and not counted[i, j]:
                continue
            if a_class == b_class:
                semantic.append(squared)
            else:
                contrastive.append(max(0.0, MARGIN - math.sqrt(squared)) ** 2)
    assert semantic and contrastive
    pairs = len(semantic) + len(contrastive)
    by = (pairs, pairs) if divisor == "all" else (len(semantic), len(contrastive))
    return float(np.sum(semantic) / by[0]), float(np.sum(contrastive) / by[1])


@pytest.mark.parametrize("shape", [(6,), (320,), (16, 8, 10)], ids=["classes", "pooled", "maps"])
@pytest.mark.parametrize(("spread", "offset"), [(0.2, 0.0), (0.2, 30.0), (1.0, 0.0), (0.01, 5.0)])
@pytest.mark.parametrize("divisor", ["all", "pairs"])
def test_terms_equal_a_double_loop(shape, spread, offset, divisor):
    data = batch(shape, spread, offset)
    semantic, contrastive = ccsa_terms(*data, MARGIN, divisor=divisor)
    expected = double_loop(*data, divisor=divisor)
    assert (semantic.item(), contrastive.item()) == pytest.approx(expected, abs=1e-5)
    assert spread == 1.0 or contrastive > 0  # the case is not one where the margin is far away


def test_gradients_are_those_of_pairwise_differences():
    data = batch((12,), 0.2, 3.0)
    ours = [t.clone().requires_grad_() for t in data[:2]]
    halves(*ours, *data[2:]).backward()
    direct = [t.double().requires_grad_() for t in data[:2]]
    squared = (direct[0][:, None] - direct[1]).square().mean(2)
    same = data[2][:, None] == data[3]
    apart = (MARGIN - squared[~same].sqrt()).clamp(min=0).square()
    ((squared[same].sum() + apart.sum()) / (2 * squared.numel())).backward()
    for a, b in zip(ours, direct, strict=True):
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-4, atol=1e-7)


def test_equal_embeddings_are_at_distance_0_with_a_finite_gradient():
    source = (4 + torch.randn(3, 50, generator=torch.Generator().manual_seed(1))).requires_grad_()
    target = source.detach().clone()
    classes = torch.tensor([0, 1, 2])
    assert squared_distances(source, target).diagonal().max() < 1e-12
    semantic, contrastive = ccsa_terms(source, target, classes, classes.roll(1), MARGIN)
    (semantic + contrastive).backward()
    assert source.grad.isfinite().all()
    _, contrastive = ccsa_terms(source[:1], target[:1], classes[:1], classes[1:2], MARGIN)
    assert contrastive.item() == pytest.approx(MARGIN**2, abs=1e-5)


@pytest.mark.parametrize(("target_class", "absent"), [(0, 1), (1, 0)])
def test_a_kind_without_pairs_is_0_and_pulls_nowhere(target_class, absent):
    source, target, *_ = batch((6,), 0.1)
    source.requires_grad_()
    classes = torch.zeros(7, dtype=torch.int64), torch.full((5,), target_class)
    terms = ccsa_terms(source, target, *classes, MARGIN)
    assert terms[absent].item() == 0 and terms[1 - absent].item() > 0
    terms[absent].backward()
    assert source.grad.abs().max() == 0


def test_pairs_that_do_not_count_are_left_out():
    data = batch((6,), 0.2)
    readable = torch.tensor([1, 1, 0, 1, 0, 1, 1], dtype=torch.bool)[:, None] & torch.tensor([1, 0, 1, 1, 1]).bool()
    expected = double_loop(*data, counted=readable)
    assert [t.item() for t in ccsa_terms(*data, MARGIN, readable)] == pytest.approx(expected, abs=1e-5)
    assert expected != pytest.approx(double_loop(*data), abs=1e-4)


def test_of_six_balanced_classes_means_by_kind_are_six_and_one_and_a_fifth_times_the_published_terms():
    source, target, *_ = batch((6,), 0.2)
    classes = torch.arange(6)
    data = source[:6], torch.cat([target, target[:1]]), classes, classes
    published, by_kind = (torch.stack(ccsa_terms(*data, MARGIN, divisor=name)) for name in ("all", "pairs"))
    assert (by_kind / published).tolist() == pytest.approx([6.0, 1.2])


def test_it_is_computed_in_full_precision_inside_autocast():
    data = batch((64,), 0.2, 10.0)
    expected = halves(*data)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert halves(*data).equal(expected)


def test_config():
    config = CCSAConfig()
    assert (config.margin, config.da_lambda, config.divisor) == (0.5, 0.9, "all")  # the published code's
    for wrong in ({"margin": 0}, {"da_lambda": 1.1}, {"compare": "flat"}):
        with pytest.raises(pydantic.ValidationError):
            CCSAConfig(**wrong)
