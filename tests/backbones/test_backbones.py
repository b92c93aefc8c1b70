"""Shapes for any length, published sizes, and independence of batch mates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from asd.backbones import MobileFaceNetConfig, ResNetConfig, ResNetIRConfig, build_backbone
from asd.backbones.cp_resnet import LEAST
from tests.support.nets import (
    SMALL,
    SMALL_CP,
    SMALL_IR,
    SMALL_MOBILE,
    WIDTHS,
    count,
    decibels,
    with_norm,
    without_gradient,
)

S4_TABLE = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 2), (4, 128, 1, 2), (2, 128, 2, 1))


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
@pytest.mark.parametrize("frames", [1, 2, 5, 31, 63, 313, 600])
@pytest.mark.parametrize(("channels", "bins"), [(1, 128), (3, 64), (1, 40)])
def test_embeds_any_number_of_frames(config, frames, channels, bins):
    if config.name == SMALL_CP.name:
        frames = max(frames, LEAST)  # fewer are refused: test_cp_resnet.py
    network = build_backbone(config, channels, bins).eval()
    embedding = network(decibels(2, channels, bins, frames))
    assert embedding.shape == (2, network.embedding_dim) == (2, WIDTHS[config])
    assert embedding.isfinite().all()


@pytest.mark.parametrize("frames", [1, 31, 313, 344])
def test_fixed_length_pools_take_their_length(frames):
    for config in (
        SMALL_MOBILE.model_copy(update={"pool": "conv", "conv_frames": frames}),
        SMALL_IR.model_copy(update={"pool": "flatten", "flatten_frames": frames}),
    ):
        network = build_backbone(config, 1, 128).eval()
        assert network(decibels(2, 1, 128, frames)).shape == (2, 24)


def test_mobilefacenet_has_the_published_size():
    paper = MobileFaceNetConfig(
        bottlenecks=((2, 128, 2, 2), (4, 128, 2, 2), (4, 128, 2, 2)), pool="conv", conv_frames=313, embedding=128
    )
    network = build_backbone(paper, channels=3, bins=128)
    assert network.over_maps[0].kernel_size == (8, 20)
    assert count(network) == 870_912


@pytest.mark.parametrize("bins", [1024, 512])
def test_mobilefacenet_of_s4_has_the_maps_of_its_table(bins):
    network = build_backbone(MobileFaceNetConfig(bottlenecks=S4_TABLE, pool="conv", conv_frames=32), 1, bins).eval()
    maps = []
    for layer in network.body:
        layer.register_forward_hook(lambda module, args, out: maps.append(tuple(out.shape[1:])))
    assert network(decibels(1, 1, bins, 32)).shape == (1, 128)
    rows = [(64, 5, 256, 8), (128, 1, 128, 4), (128, 6, 64, 2), (128, 1, 32, 1), (128, 2, 32, 1)]
    at_1024 = [(64, 512, 16)] * 2 + [(c, high, wide) for c, n, high, wide in rows for _ in range(n)] + [(512, 32, 1)]
    assert maps == [(channels, high * bins // 1024, wide) for channels, high, wide in at_1024]
    assert network.over_maps[0].kernel_size == (32 * bins // 1024, 1)
    assert count(network) == mobilefacenet_size(S4_TABLE, 32 * bins // 1024)


def mobilefacenet_size(table: tuple[tuple[int, int, int, int], ...], last_map: int) -> int:
    """Counted from the table: a convolution is followed by BN and, where it is not linear, PReLU."""
    total, inner = 9 * 64 + 3 * 64 + 9 * 64 + 3 * 64, 64
    for expansion, outer, repeats, _ in table:
        for _ in range(repeats):
            hidden = inner * expansion
            total += inner * hidden + 3 * hidden + 9 * hidden + 3 * hidden + hidden * outer + 2 * outer
            inner = outer
    return total + inner * 512 + 3 * 512 + last_map * 512 + 2 * 512 + 512 * 128 + 2 * 128


def resnet_size(depths: tuple[int, ...], features: int, embedding: int) -> int:
    """Counted from the layer list in the source's words, without any of our code."""
    total = 7 * 7 * 1 * 64 + 2 * 64 + 64  # stem: convolution, BN, PReLU
    inner = 64
    for outer, depth in zip((64, 128, 256, 512), depths, strict=True):
        for _ in range(depth):
            total += 2 * inner + 9 * inner * outer + 2 * outer + outer + 9 * outer * outer + 2 * outer
            total += 0 if inner == outer else inner * outer + 2 * outer
            inner = outer
    return total + 2 * features + features * embedding + embedding + 2 * embedding


@pytest.mark.parametrize(("pool", "features"), [("time_mean", 512 * 4), ("flatten", 512 * 4 * 10)])
def test_resnet_has_the_size_of_its_layers(pool, features):
    with torch.device("meta"):
        network = build_backbone(ResNetIRConfig(pool=pool), channels=1, bins=128)
    print(f"resnet50_ir {pool}: {count(network):,} parameters")
    assert count(network) == resnet_size((3, 4, 6, 3), features, 2048)


def test_plain_resnet_has_torchvisions_size():
    with torch.device("meta"):
        network = build_backbone(ResNetConfig(), channels=3, bins=128)
    assert count(network) == 25_557_032 - (2048 * 1000 + 1000)  # torchvision's resnet50 without its classifier


@pytest.mark.parametrize("features", [1024, 512])
def test_plain_resnet_projects_to_s4s_embedding(features):
    with torch.device("meta"):
        plain, projected = (build_backbone(ResNetConfig(embedding=e), channels=1, bins=features) for e in (None, 128))
    assert count(projected) - count(plain) == 2048 * 128 + 2 * 128
    assert (plain.embedding_dim, projected.embedding_dim) == (2048, 128)


def test_initial_weights_have_the_published_spread():
    torch.manual_seed(0)
    network = build_backbone(MobileFaceNetConfig(), 1, 128)
    wide = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 20_000]
    assert len(wide) > 5
    for conv in wide:
        expected = math.sqrt(2 / (conv.kernel_size[0] * conv.kernel_size[1] * conv.out_channels))
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("norm", ["batch", "sync", "group"])
@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
def test_every_parameter_learns(config, norm):
    """DDP waits for ever for a gradient that never comes."""
    torch.manual_seed(0)
    network = build_backbone(with_norm(config, norm), 1, 128)
    target = torch.randn(4, network.embedding_dim)
    (network(decibels(4, 1, 128, 40)) * target).sum().backward()
    assert without_gradient(network) == []
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("norm", ["batch", "sync", "group"])
@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
def test_an_embedding_does_not_depend_on_its_batch_mates(config, norm):
    torch.manual_seed(0)
    network = build_backbone(with_norm(config, norm), 1, 64)
    network(decibels(8, 1, 64, 50, seed=1))  # running statistics other than 0 and 1
    network.eval()
    clips = decibels(5, 1, 64, 50)
    together = network(clips)
    alone = torch.cat([network(clip[None]) for clip in clips])
    others = network(torch.cat([clips[:1], 3 * decibels(6, 1, 64, 50, seed=9)]))[:1]
    scale = together.abs().mean()
    assert (together - alone).abs().max() < 1e-4 * scale
    assert (together[:1] - others).abs().max() < 1e-4 * scale
    assert (together[0] - together[1]).abs().max() > 0.01 * scale


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
def test_group_norm_looks_at_no_batch_mates_in_training(config):
    torch.manual_seed(0)
    clips = decibels(4, 1, 64, 50)
    changed = torch.cat([clips[:1], 3 * decibels(3, 1, 64, 50, seed=9)])
    group = build_backbone(with_norm(config, "group"), 1, 64)
    assert (group(clips)[0] - group(changed)[0]).abs().max() < 1e-4
    batch = build_backbone(with_norm(config, "batch"), 1, 64)
    assert (batch(clips)[0] - batch(changed)[0]).abs().max() > 1e-2
    assert not any("running" in name for name, _ in group.named_buffers())


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
def test_is_finite_under_bfloat16(config):
    torch.manual_seed(0)
    network = build_backbone(config, 1, 64)
    with torch.autocast("cpu", torch.bfloat16):
        embedding = network(decibels(4, 1, 64, 50))
    embedding.float().square().sum().backward()
    assert embedding.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
def test_channels_last_gives_the_same(config):
    torch.manual_seed(0)
    network, maps = build_backbone(config, 3, 64).eval(), decibels(4, 3, 64, 50)
    expected = network(maps)
    network = network.to(memory_format=torch.channels_last)
    got = network(maps.to(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", [ResNetConfig(), ResNetIRConfig()], ids=lambda config: config.name)
def test_convolutions_of_a_resnet_begin_as_torchvisions(config):
    """He et al. by the fan out: deviation sqrt(2 / (k · k · out)); torch's own default has 0.54 to 4.9 times that."""
    torch.manual_seed(0)
    network = build_backbone(config.model_copy(update={"depths": (1, 1, 1, 1)}), 1, 128)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            wanted = math.sqrt(2 / (module.kernel_size[0] * module.kernel_size[1] * module.out_channels))
            errors = 6 / math.sqrt(2 * module.weight.numel())  # six standard errors of a deviation
            assert module.weight.std().item() == pytest.approx(wanted, rel=errors)
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
