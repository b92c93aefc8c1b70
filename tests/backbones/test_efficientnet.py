"""EfficientNet-B0: the published size by a sum over its table, map sizes, drop-connect."""

from __future__ import annotations

import torch

from asd.backbones import EfficientNetConfig, build_backbone
from asd.backbones.efficientnet import drop_connect
from tests.support.nets import SMALL_EFFICIENT, count, decibels

# Table 1 of the paper: expansion, kernel, channels, layers; then stride, from the resolutions
STAGES = [
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
]
WITH_CLASSIFIER = 5_288_548  # torchvision's efficientnet_b0: three channels, 1000 classes


def stages_size() -> int:
    total, inner = 0, 32
    for expansion, kernel, outer, layers, _ in STAGES:
        for _ in range(layers):
            hidden, squeezed = inner * expansion, inner // 4
            total += inner * hidden + 2 * hidden if expansion > 1 else 0
            total += kernel**2 * hidden + 2 * hidden
            total += hidden * squeezed + squeezed + squeezed * hidden + hidden
            total += hidden * outer + 2 * outer
            inner = outer
    return total


def test_has_the_published_size():
    with torch.device("meta"):
        network = build_backbone(EfficientNetConfig(), channels=3, bins=128)
    by_hand = 27 * 32 + 2 * 32 + stages_size() + 320 * 1280 + 2 * 1280
    assert count(network) == by_hand == WITH_CLASSIFIER - (1280 * 1000 + 1000)
    with torch.device("meta"):
        mono = build_backbone(EfficientNetConfig(embedding=128), channels=1, bins=128)
    assert count(mono) == by_hand - 2 * 9 * 32 + 1280 * 128 + 2 * 128


def test_the_maps_have_the_strides_of_the_table():
    network = build_backbone(EfficientNetConfig(width=0.25), 1, 1024).eval()
    sizes = []
    for layer in network.body:
        layer.register_forward_hook(lambda module, args, out: sizes.append(tuple(out.shape[2:])))
    network(decibels(1, 1, 1024, 32))
    strides = [2, *[s if i == 0 else 1 for *_, layers, s in STAGES for i in range(layers)], 1]
    total, expected = 1, []
    for stride in strides:
        total *= stride
        expected.append((1024 // total, 32 // total))
    assert sizes == expected
    assert sizes[-1] == (32, 1)


def test_drop_connect_keeps_the_mean_and_drops_whole_clips():
    torch.manual_seed(0)
    dropped = drop_connect(torch.ones(4000, 2, 3, 1), 0.2, training=True)
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    by_clip = dropped.flatten(1)
    assert (by_clip == by_clip[:, :1]).all()
    assert abs(by_clip.mean() - 1) < 0.03
    assert drop_connect(torch.ones(4, 1), 0.2, training=False).equal(torch.ones(4, 1))


def test_drop_connect_grows_towards_the_last_block_and_rests_in_evaluation():
    network = build_backbone(SMALL_EFFICIENT.model_copy(update={"drop_connect": 0.4}), 1, 64)
    assert [block.drop for block in network.body[1:-1]] == [0.0, 0.1, 0.2, 0.30000000000000004]
    maps = decibels(8, 1, 64, 40)
    assert not network(maps).equal(network(maps))
    network.eval()
    assert network(maps).equal(network(maps))
