"""Shapes for any length, published sizes, and independence of batch mates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from asd.backbones import MobileFaceNetConfig, ResNetConfig, ResNetIRConfig, build_backbone

SMALL_MOBILE = MobileFaceNetConfig(bottlenecks=((2, 32, 2, 2), (2, 32, 1, 2)), width=0.5, embedding=24)
SMALL_RESNET = ResNetIRConfig(depths=(1, 2, 1, 1), width=8, embedding=24, dropout=0.0)
SMALL_PLAIN = ResNetConfig(depths=(1, 2, 1, 1), width=8)  # embeds into 32 times its width
SMALL = [SMALL_MOBILE, SMALL_RESNET, SMALL_PLAIN]


def with_norm(config, norm: str):
    return config.model_copy(update={"norm": norm})


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def decibels(*shape: int, seed: int = 0) -> torch.Tensor:
    return 20 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) - 40


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
@pytest.mark.parametrize("frames", [1, 2, 5, 31, 63, 313, 600])
@pytest.mark.parametrize(("channels", "bins"), [(1, 128), (3, 64), (1, 40)])
def test_embeds_any_number_of_frames(config, frames, channels, bins):
    network = build_backbone(config, channels, bins).eval()
    embedding = network(decibels(2, channels, bins, frames))
    assert embedding.shape == (2, network.embedding_dim) == (2, 256 if config is SMALL_PLAIN else 24)
    assert embedding.isfinite().all()


@pytest.mark.parametrize("frames", [1, 31, 313, 344])
def test_fixed_length_pools_take_their_length(frames):
    for config in (
        SMALL_MOBILE.model_copy(update={"pool": "conv", "conv_frames": frames}),
        SMALL_RESNET.model_copy(update={"pool": "flatten", "flatten_frames": frames}),
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
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
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
