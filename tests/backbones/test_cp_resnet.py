"""CP-ResNet: the published sizes, the receptive field seen from outside, maps and pooling."""

from __future__ import annotations

import pydantic
import pytest
import torch
from torch import nn

from asd.backbones import CPResNetConfig, build_backbone
from asd.errors import UserError
from tests.support.nets import SMALL_CP, count, decibels, with_norm

CLASSES = 6
# rho → (receptive field, millions of parameters), as reported
PUBLISHED = {12: (107, "6.58"), 8: (75, "4.48"), 5: (51, "3.56"), 3: (35, "3.30")}
S3_KERNELS = [  # of rho 12, block by block
    [(3, 1), (3, 3), (3, 3), (3, 3)],
    [(3, 3), (3, 3), (3, 3), (1, 1)],
    [(1, 1), (1, 1), (1, 1), (1, 1)],
]


def conv_sizes(network: nn.Module) -> list[tuple[int, int]]:
    return [block.residual[i].kernel_size for block in network.blocks if hasattr(block, "residual") for i in (0, 3)]


@pytest.mark.parametrize("rho", PUBLISHED)
def test_has_the_published_size(rho):
    with torch.device("meta"):
        network = build_backbone(CPResNetConfig(rho_f=rho, rho_t=rho), 1, 128)
        head = nn.Sequential(nn.Conv2d(512, CLASSES, 1, bias=False), nn.BatchNorm2d(CLASSES))
    assert f"{(count(network) + count(head)) / 1e6:.2f}" == PUBLISHED[rho][1]


def test_the_size_is_that_of_its_table():
    total, inner = 2 + 25 * 128 + 2 * 128, 128  # input BatchNorm, stem
    for stage, outer in zip(S3_KERNELS, (128, 256, 512), strict=True):
        for first, second in stage:
            total += first**2 * inner * outer + second**2 * outer**2 + 4 * outer
            total += inner * outer + 2 * outer if inner != outer else 0
            inner = outer
    with torch.device("meta"):
        assert count(build_backbone(CPResNetConfig(), 1, 128)) == total


def test_kernels_are_those_of_s3():
    blocks = [block for stage in S3_KERNELS for block in stage]
    assert conv_sizes(build_backbone(SMALL_CP, 1, 128)) == [(k, k) for block in blocks for k in block]


def seen(config: CPResNetConfig, axis: int) -> list[int]:
    """The bins (axis 2) or frames (axis 3) that reach the middle position of the last map: NaN passes every layer."""
    size = 180
    network = build_backbone(config, 1, size).eval().double()
    x = torch.zeros(size, 1, size, size, dtype=torch.float64).fill_(-40)
    for place in range(size):
        x[place].select(axis - 1, place).fill_(torch.nan)
    maps = torch.cat([network.forward_map(part) for part in x.split(20)])
    middle = maps[:, 0, maps.shape[2] // 2, maps.shape[3] // 2]
    return middle.isnan().nonzero().flatten().tolist()


@torch.no_grad()
@pytest.mark.parametrize(("rho_f", "rho_t"), [(12, 12), (8, 5), (3, 8), (5, 3)])
def test_receptive_field_is_the_published_one(rho_f, rho_t):
    config = CPResNetConfig(width=1, rho_f=rho_f, rho_t=rho_t)
    for axis, rho in ((2, rho_f), (3, rho_t)):
        places = seen(config, axis)
        assert places == list(range(places[0], places[0] + PUBLISHED[rho][0]))


def test_the_embedding_is_the_mean_of_the_map():
    network, clips = build_backbone(SMALL_CP, 1, 128).eval(), decibels(2, 1, 128, 311)
    maps = network.forward_map(clips)
    assert maps.shape == (2, 32, 31, 77)  # 10 s: (311 + 2 − 5) // 2 + 1 = 155 frames behind the stem, halved
    torch.testing.assert_close(network(clips), maps.flatten(2).mean(2))
    torch.testing.assert_close(network.pool(maps), network(clips))


@pytest.mark.parametrize("norm", ["batch", "sync"])
def test_inputs_are_normalised_over_all_values_or_by_mel_bin(norm):
    clips = decibels(6, 1, 16, 40) + 5 * torch.arange(16.0)[:, None]
    whole = build_backbone(with_norm(SMALL_CP, norm), 1, 16).input_norm(clips)
    torch.testing.assert_close(whole, (clips - clips.mean()) / clips.std(correction=0), rtol=1e-4, atol=1e-4)
    by_bin = build_backbone(CPResNetConfig(width=8, input_norm="mel", norm=norm), 1, 16).input_norm(clips)
    mean = clips.mean((0, 1, 3))[:, None]
    deviation = clips.transpose(0, 2).flatten(1).std(1, correction=0)[:, None]
    torch.testing.assert_close(by_bin, (clips - mean) / deviation, rtol=1e-4, atol=1e-4)


def test_impossible_settings_and_clips_are_refused():
    with pytest.raises(pydantic.ValidationError, match="input_norm=mel needs statistics over clips"):
        CPResNetConfig(input_norm="mel", norm="group")
    with pytest.raises(pydantic.ValidationError, match="rho_t"):
        CPResNetConfig(rho_t=23)
    with pytest.raises(UserError, match="a clip gives 4 frames, backbone cp_resnet needs at least 5"):
        build_backbone(SMALL_CP, 1, 16)(decibels(1, 1, 16, 4))
    with pytest.raises(UserError, match="cp_resnet needs at least 5 bins, the frontend gives 4"):
        build_backbone(SMALL_CP, 1, 4)
