"""Losses against independent computations."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from asd.backbones.norms import norm2d
from asd.losses import ArcFaceConfig, CosFaceConfig, FocalConfig, SoftmaxConfig, build_loss
from asd.losses.softmax import MapSoftmax
from tests.support.losses import CLASSES, DIM, mixtures, numpy_cosines, plain, sample


def arcface(**settings: float):
    torch.manual_seed(0)
    return build_loss(ArcFaceConfig(**settings), DIM, CLASSES)


def numpy_arcface(embedding, centres, classes, scale: float, margin: float, smoothing: float) -> np.ndarray:
    """Loss per clip in float64, by angles."""
    x, w = embedding.detach().numpy().astype(np.float64), centres.detach().numpy().astype(np.float64)
    cosine = (x @ w.T) / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(w, axis=1)
    logits = scale * cosine
    for row, target in enumerate(classes.tolist()):
        angle = np.arccos(cosine[row, target])
        if angle + margin < np.pi:
            logits[row, target] = scale * np.cos(angle + margin)
        else:
            logits[row, target] = scale * (cosine[row, target] - margin * np.sin(np.pi - margin))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    own = log_p[np.arange(len(classes)), classes.numpy()]
    return -(1 - smoothing) * own - smoothing * log_p.mean(1)


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.5, 0.7, math.pi / 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.05])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_arcface_equals_angles_in_float64(margin, smoothing, scale):
    loss = arcface(scale=scale, margin=margin, label_smoothing=smoothing)
    embedding, classes = sample()
    ours = plain(loss, embedding, classes).detach().numpy()
    np.testing.assert_allclose(
        ours, numpy_arcface(embedding, loss.centres, classes, scale, margin, smoothing), rtol=1e-5, atol=1e-5
    )


def at_angle(loss, angles: torch.Tensor) -> torch.Tensor:
    """Embeddings at given angles from the centre of class 0, (angles, D)."""
    axis = F.normalize(loss.centres[0].detach().double(), dim=0)
    other = F.normalize(torch.linalg.qr(torch.stack([axis, loss.centres[1].detach().double()], 1))[0][:, 1], dim=0)
    return (torch.cos(angles)[:, None] * axis + torch.sin(angles)[:, None] * other).float()


def test_arcface_goes_on_as_a_line_beyond_the_last_angle():
    margin, scale = 0.7, 30.0
    loss = arcface(scale=scale, margin=margin)
    angles = torch.linspace(math.pi - margin + 0.01, math.pi - 0.01, 50, dtype=torch.float64)
    target = torch.zeros(50, dtype=torch.int64)
    logits = loss.logits(at_angle(loss, angles))
    hard = loss.margin_logits(logits, target)
    expected = scale * (torch.cos(angles) - margin * math.sin(math.pi - margin))
    torch.testing.assert_close(hard[:, 0].double(), expected, rtol=0, atol=1e-4)
    assert hard[:, 1:].equal(logits[:, 1:])


def test_arcface_falls_with_the_angle_all_the_way():
    loss = arcface(margin=0.7)
    angles = torch.linspace(0.01, math.pi - 0.01, 400, dtype=torch.float64)
    logits = loss.logits(at_angle(loss, angles))
    hard = loss.margin_logits(logits, torch.zeros(400, dtype=torch.int64))[:, 0]
    assert (hard.diff() < 0).all()
    assert (hard < logits[:, 0]).all()


def test_arcface_without_margin_is_softmax_of_scaled_cosines():
    loss = arcface(margin=0.0, scale=30.0)
    embedding, classes = sample()
    cosine = F.cosine_similarity(embedding[:, None].double(), loss.centres[None].double(), dim=2)
    expected = F.cross_entropy(30 * cosine, classes, reduction="none")
    torch.testing.assert_close(plain(loss, embedding, classes).double(), expected, rtol=1e-4, atol=1e-4)


def test_a_margin_makes_every_clip_harder():
    embedding, classes = sample()
    losses = [plain(arcface(margin=margin), embedding, classes) for margin in (0.0, 0.05, 0.5, 1.0)]
    for easier, apply_margin in pairwise(losses):
        assert (apply_margin > easier).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mixing", ["arcmix", "noisy_arcmix", "guided"])
@pytest.mark.parametrize("margin", [0.05, 0.7])
@pytest.mark.parametrize("angle", [0.0, 1e-4, math.pi - 1e-4, math.pi])
def test_gradients_are_finite_at_the_poles(dtype, mixing, margin, angle):
    loss = mixtures(margin, mixing)
    embedding = at_angle(loss, torch.full((3,), angle, dtype=torch.float64)).requires_grad_()
    first, second = torch.zeros(3, dtype=torch.int64), torch.tensor([0, 1, 2])
    with torch.autocast("cpu", torch.bfloat16 if dtype == torch.float32 else dtype, enabled=dtype != torch.float32):
        value = loss(embedding.to(dtype), first, second, torch.tensor([1.0, 0.5, 0.0]))
    assert value.dtype == torch.float32
    value.sum().backward()
    assert value.isfinite().all()
    assert embedding.grad.isfinite().all()
    assert loss.centres.grad.isfinite().all()


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.3])
def test_softmax_equals_torch(smoothing):
    torch.manual_seed(0)
    loss = build_loss(SoftmaxConfig(label_smoothing=smoothing), DIM, CLASSES)
    embedding, classes = sample()
    weight, bias = (p.detach() for p in loss.parameters())
    reference = torch.nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")
    expected = reference(embedding @ weight.T + bias, classes)
    torch.testing.assert_close(plain(loss, embedding, classes).detach(), expected)


@pytest.mark.parametrize(
    "config",
    [SoftmaxConfig(label_smoothing=0.1), FocalConfig(), CosFaceConfig(margin=0.3), ArcFaceConfig(margin=0.5)],
    ids=lambda c: c.name,
)
def test_a_mixture_is_weighed_between_its_classes(config):
    torch.manual_seed(0)
    loss = build_loss(config, DIM, CLASSES)
    embedding, first = sample()
    second, weight = first.roll(1), torch.rand(len(first))
    mixed = loss(embedding, first, second, weight)
    of_first, of_second = plain(loss, embedding, first), plain(loss, embedding, second)
    torch.testing.assert_close(mixed, weight * of_first + (1 - weight) * of_second)
    ones = torch.ones(len(first))
    assert loss(embedding, first, second, ones).equal(of_first)
    torch.testing.assert_close(loss(embedding, first, second, 0 * ones), of_second)


@pytest.mark.parametrize(
    "config",
    [SoftmaxConfig(), FocalConfig(gamma=2.0), CosFaceConfig(), ArcFaceConfig(sub_centres=3)],
    ids=lambda c: c.name,
)
def test_losses_are_float32_under_autocast(config):
    torch.manual_seed(0)
    loss = build_loss(config, DIM, CLASSES)
    embedding, classes = sample()
    rounded = embedding.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = plain(loss, rounded, classes)
    assert under_autocast.equal(plain(loss, rounded.float(), classes))


def test_cosface_takes_its_margin_off_the_cosine():
    torch.manual_seed(0)
    loss = build_loss(CosFaceConfig(scale=20.0, margin=0.35), DIM, CLASSES)
    embedding, classes = sample()
    logits = 20 * numpy_cosines(embedding, loss.centres)
    logits[np.arange(len(classes)), classes.numpy()] -= 20 * 0.35
    own = logits[np.arange(len(classes)), classes.numpy()]
    expected = np.log(np.exp(logits).sum(1)) - own
    np.testing.assert_allclose(plain(loss, embedding, classes).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_of_several_centres_the_nearest_counts():
    torch.manual_seed(0)
    loss = build_loss(ArcFaceConfig(sub_centres=3), DIM, CLASSES)
    embedding, _ = sample()
    cosines = numpy_cosines(embedding, loss.centres).reshape(len(embedding), CLASSES, 3)
    np.testing.assert_allclose(loss.logits(embedding).detach().numpy(), 30 * cosines.max(2), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("alpha", "gamma"), [(1.0, 0.0), (0.25, 2.0), (1.0, 1.0)])
def test_focal_is_cross_entropy_weighed_by_doubt(alpha, gamma):
    torch.manual_seed(0)
    loss = build_loss(FocalConfig(alpha=alpha, gamma=gamma), DIM, CLASSES)
    embedding, classes = sample()
    p = F.softmax(loss.logits(embedding).detach().double(), 1)[torch.arange(len(classes)), classes]
    expected = -alpha * (1 - p) ** gamma * p.log()
    torch.testing.assert_close(plain(loss, embedding, classes).detach().double(), expected, rtol=1e-3, atol=1e-6)


def test_smoothing_pulls_back_what_is_already_sure():
    """Beyond the smoothed target the gradient turns: more of the same logit makes the loss larger."""
    logits = torch.zeros(1, CLASSES)
    logits[0, 0] = 20.0
    target = torch.zeros(1, dtype=torch.int64)
    slopes = {}
    for smoothing in (0.0, 0.05):
        given = logits.clone().requires_grad_()
        build_loss(SoftmaxConfig(label_smoothing=smoothing), DIM, CLASSES).single(given, target).sum().backward()
        slopes[smoothing] = float(given.grad[0, 0])
    assert slopes[0.0] <= 0 < slopes[0.05]


def test_focal_counts_sure_clips_for_less_than_unsure_ones():
    loss, entropy = (build_loss(config, DIM, CLASSES) for config in (FocalConfig(gamma=1.0), SoftmaxConfig()))
    logits = torch.zeros(5, CLASSES)
    logits[:, 0] = torch.arange(5.0)
    target = torch.zeros(5, dtype=torch.int64)
    share = loss.single(logits, target) / entropy.single(logits, target)
    assert (share.diff() < 0).all()
    assert (share < 1).all()


def test_cosface_asks_the_same_at_every_angle_and_arcface_most_at_a_right_angle():
    angles = torch.tensor([0.2, 0.8, math.pi / 2], dtype=torch.float64)
    target = torch.zeros(3, dtype=torch.int64)
    taken = {}
    for config in (CosFaceConfig(margin=0.3), ArcFaceConfig(margin=0.3)):
        torch.manual_seed(0)
        loss = build_loss(config, DIM, CLASSES)
        logits = loss.logits(at_angle(loss, angles))
        taken[config.name] = (logits - loss.margin_logits(logits, target))[:, 0] / 30
    torch.testing.assert_close(taken["cosface"], torch.full((3,), 0.3), rtol=0, atol=1e-5)
    assert (taken["arcface"].diff() > 0).all()


def published_head() -> tuple[MapSoftmax, nn.Conv2d, nn.BatchNorm2d]:
    """Ours, and the same weights in the published order: convolution, BatchNorm, mean over positions."""
    torch.manual_seed(0)
    loss = build_loss(SoftmaxConfig(norm="batch"), DIM, CLASSES, norm2d)
    assert isinstance(loss, MapSoftmax)
    convolution, norm = nn.Conv2d(DIM, CLASSES, 1, bias=False), nn.BatchNorm2d(CLASSES)
    for values in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(values)
    convolution.weight.data.copy_(loss.classifier[0].weight)
    loss.classifier[1].load_state_dict(norm.state_dict())
    return loss, convolution, norm


def test_s3s_head_normalises_class_maps_over_clips_and_positions_before_their_mean():
    loss, convolution, norm = published_head()
    maps = 3 * torch.randn(7, DIM, 4, 5, generator=torch.Generator().manual_seed(1)) + 1
    found = loss.logits(maps)
    values = torch.einsum("bdmf,cd->bcmf", maps, convolution.weight[:, :, 0, 0])
    mean, variance = values.mean((0, 2, 3), keepdim=True), values.var((0, 2, 3), correction=0, keepdim=True)
    whitened = (values - mean) / (variance + norm.eps).sqrt()
    by_hand = (whitened * norm.weight[:, None, None] + norm.bias[:, None, None]).mean((2, 3))
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, norm(convolution(maps)).mean((2, 3)))
    torch.testing.assert_close(loss.classifier[1].running_mean, norm.running_mean)  # of one step
    pooled = loss.logits(maps.mean((2, 3)))
    assert (found - pooled).abs().max() > 0.1  # what a linear classifier on the pooled map would learn from


def test_in_evaluation_s3s_head_gives_the_pooled_map_the_logits_of_the_map():
    loss, convolution, norm = published_head()
    maps = 3 * torch.randn(7, DIM, 4, 5, generator=torch.Generator().manual_seed(1)) + 1
    published = norm.eval()(convolution(maps)).mean((2, 3))
    torch.testing.assert_close(loss.eval().logits(maps.mean((2, 3))), published, rtol=1e-4, atol=1e-5)


def test_held_out_clips_are_judged_with_the_margin_where_asked_for():
    embedding, classes = torch.randn(9, DIM, generator=torch.Generator().manual_seed(2)), torch.arange(9) % CLASSES
    torch.manual_seed(0)
    plain = build_loss(ArcFaceConfig(margin=0.7, label_smoothing=0.1), DIM, CLASSES)
    asked = build_loss(ArcFaceConfig(margin=0.7, label_smoothing=0.1, validation_margin=True), DIM, CLASSES)
    asked.load_state_dict(plain.state_dict())
    logits = plain.logits(embedding)
    torch.testing.assert_close(plain.held_out(logits, classes), F.cross_entropy(logits, classes, reduction="none"))
    angle = (logits.gather(1, classes[:, None]) / 30).clamp(-1, 1).arccos() + 0.7
    assert (angle < torch.pi).all()
    apply_margin = logits.scatter(1, classes[:, None], 30 * angle.cos())
    expected = F.cross_entropy(apply_margin, classes, reduction="none")
    torch.testing.assert_close(asked.held_out(logits, classes), expected, rtol=1e-4, atol=1e-4)
