"""MobileNetV2: the sizes of Keras's half-width network and of S5's table, map by map."""

from __future__ import annotations

import pytest
import torch

from asd.backbones import MobileNetV2Config, build_backbone
from asd.backbones.blocks import scaled
from tests.support.nets import SMALL_V2, count, decibels, running, with_norm, without_gradient

S5 = MobileNetV2Config(last=320, pool="conv", conv_frames=64)
# channels, height and width of the maps behind stem and rows of S5's table, each row as often as it repeats
S5_MAPS = [
    *[(16, 64, 32), (8, 64, 32), *[(16, 32, 16)] * 2, *[(16, 16, 8)] * 3, *[(32, 8, 4)] * 4, *[(48, 8, 4)] * 3],
    *[*[(80, 4, 2)] * 3, (160, 4, 2), (320, 4, 2)],
]
S5_ROWS = ((1, 8, 1), (6, 16, 2), (6, 16, 3), (6, 32, 4), (6, 48, 3), (6, 80, 3), (6, 160, 1))


def test_the_baseline_has_the_size_that_keras_prints():
    """MobileNetV2(alpha=0.5): 706,224 without its classifier, 1,987,224 with one of 1000 classes."""
    with torch.device("meta"):
        network = build_backbone(MobileNetV2Config(), channels=3, bins=128)
    assert network.embedding_dim == 1280
    assert count(network) + running(network) == 706_224 == 1_987_224 - (1280 * 1000 + 1000)


def test_the_encoder_of_s5_has_the_maps_of_its_table():
    network = build_backbone(S5, 3, 128).eval()
    maps = []
    for layer in network.body:
        layer.register_forward_hook(lambda module, args, out: maps.append(tuple(out.shape[1:])))
    assert network(decibels(2, 3, 128, 64)).shape == (2, 320)
    assert maps == S5_MAPS
    assert network.over_maps[0][0].weight.shape == (320, 320, 4, 2)


def test_the_encoder_of_s5_has_the_size_of_its_table():
    total, inner = 27 * 16 + 2 * 16, 16
    for expansion, outer, repeats in S5_ROWS:
        for _ in range(repeats):
            hidden = inner * expansion
            total += (inner * hidden + 2 * hidden) * (expansion > 1) + 9 * hidden + 2 * hidden
            total += hidden * outer + 2 * outer
            inner = outer
    total += 160 * 320 + 2 * 320 + 4 * 2 * 320 * 320 + 2 * 320 + 320 * 320 + 320
    with torch.device("meta"):
        assert count(build_backbone(S5, 3, 128)) == total


def test_longer_windows_average_the_positions_of_the_last_convolution():
    network, maps = build_backbone(S5, 1, 128).eval(), decibels(2, 1, 128, 200)
    assert network.over_maps(network.body(maps)).shape[2:] == (1, 6)
    assert network(maps).shape == (2, 320)


@pytest.mark.parametrize("norm", ["batch", "sync", "group"])
def test_every_parameter_learns_behind_the_last_convolution(norm):
    torch.manual_seed(0)
    network = build_backbone(with_norm(SMALL_V2.model_copy(update={"pool": "conv"}), norm), 3, 64)
    (network(decibels(4, 3, 64, 64)) * torch.randn(4, 40)).sum().backward()
    assert without_gradient(network) == []


@pytest.mark.parametrize(
    ("channels", "width", "expected"), [(24, 0.5, 16), (32, 0.5, 16), (16, 0.1, 8), (64, 1.0, 64), (20, 0.9, 24)]
)
def test_widths_are_multiples_of_eight_at_most_a_tenth_below(channels, width, expected):
    assert scaled(channels, width) == expected


def test_initial_weights_have_the_spread_of_one_groups_fan_out():
    torch.manual_seed(0)
    wide = [m for m in build_backbone(MobileNetV2Config(), 3, 128).modules() if isinstance(m, torch.nn.Conv2d)]
    depth_wise = torch.cat([m.weight.flatten() for m in wide if m.groups > 1])
    assert depth_wise.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.03)
    for conv in (m for m in wide if m.groups == 1 and m.weight.numel() > 10_000):
        assert conv.weight.std().item() == pytest.approx((2 / conv.out_channels) ** 0.5, rel=0.03)
