"""Every convolution that the configs make is computed rightly, also where a processor has no AVX-512."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from asd.backbones import ResNetConfig, ResNetIRConfig, build_backbone, build_reconstructor
from asd.backbones.encoders.base import EncoderSettings
from asd.backbones.strides import is_narrow_stride, subsample_narrow_strides
from asd.config.load import load_config
from asd.config.run import RunConfig
from asd.frontends import build_frontend
from asd.tasks.reconstruction import ReconstructionConfig
from tests.support.convolutions import FORMATS, Convolution, convolutions_of, fill_freed_memory, scan
from tests.support.narrow import CONFIGS, narrow
from tests.support.nets import SMALL
from tests.support.parts import task_of

FRAMES, WAVEFORM = 24, 32_000


def network_of(config: RunConfig) -> tuple[nn.Module, torch.Tensor]:
    """The network of a config, on the meta device where it can be, and maps that it may see."""
    frontend = build_frontend(config.frontend, 16_000)
    channels = frontend.channels * (config.windows.copies if config.windows else 1)
    frames = config.windows.frames if config.windows else next(iter(config.fixed_frames()), FRAMES)
    if config.frontend.gives_waveform:
        frames = next(iter(config.fixed_frames()), WAVEFORM)
    with torch.device("cpu" if config.frontend.gives_waveform else "meta"):  # a sketch of samples has no spectra
        if config.backbone is not None:
            network = build_backbone(config.backbone, channels, frontend.bins)
            return network, torch.zeros(2, channels, frontend.bins, frames)
        assert isinstance(config.task, ReconstructionConfig)
        settings = config.task.network
        reconstructor, field = (
            build_reconstructor(settings, channels, frontend.bins),
            getattr(settings, "receptive_field", 0),
        )
        if settings.takes_waveform:
            return reconstructor, torch.zeros(2, field + 100)
        return reconstructor, torch.zeros(2, channels, frontend.bins, max(frames, field + 8 if field else 0))


@cache
def shipped() -> tuple[Convolution, ...]:
    """Those of every config at its own width, and as narrow as the tests make it; of each layer the smallest maps."""
    found: set[Convolution] = set()
    for path in CONFIGS.values():
        if isinstance(load_config(path).backbone, EncoderSettings):
            continue  # a transformer, of the size that a file of weights has
        for words in ([], narrow(load_config(path))):
            network, maps = network_of(load_config(path, words))
            subsample_narrow_strides(network)
            found |= convolutions_of(network, maps)
    for config in SMALL:
        network, maps = build_backbone(config, 1, 32).to("meta"), torch.zeros(2, 1, 32, FRAMES, device="meta")
        subsample_narrow_strides(network)
        found |= convolutions_of(network, maps)
    smallest: dict[Any, Convolution] = {}
    for convolution in sorted(found, key=lambda c: (*c.size, c.inputs, c.outputs)):
        layer = (*(getattr(convolution, f) for f in convolution.__dataclass_fields__ if f != "size"),)
        smallest.setdefault(layer, convolution)
    return tuple(smallest.values())


def test_the_scan_sees_the_networks() -> None:
    kinds = {(c.kernel, c.stride, c.groups > 1) for c in shipped()}
    assert {((3, 3), (2, 2), True), ((1, 1), (2, 2), False), ((7, 7), (2, 2), False), ((2,), (1,), False)} <= kinds
    assert len(shipped()) > 100
    assert max(c.inputs for c in shipped()) == 2048


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", ["AVX2", None])
def test_every_convolution_of_the_configs_is_right(isa: str | None, threads: int) -> None:
    """Output and both gradients, to 3e-5 of their length, without a crash."""
    cases = [(convolution, layout) for layout in FORMATS for convolution in shipped()]
    assert {case: error for case, error in scan(cases, isa, threads).items() if not error < 3e-5} == {}


def narrowed() -> list[Convolution]:
    """Those with a stride, each on maps of one to three columns: the last maps of short clips."""
    strided = [c for c in shipped() if c.stride[-1] > 1]
    sizes = [(c, (*c.size[:-1], width)) for c in strided for width in (1, 2, 3)]
    return sorted({replace(c, size=size) for c, size in sizes if fits(c, size)}, key=str)


def fits(convolution: Convolution, size: tuple[int, ...]) -> bool:
    """Whether a kernel has a place in padded maps."""
    spans = [d * (k - 1) + 1 for k, d in zip(convolution.kernel, convolution.dilation, strict=True)]
    return all(s + 2 * p >= span for s, p, span in zip(size, convolution.padding, spans, strict=True))


@pytest.mark.parametrize("isa", ["AVX512_CORE_BF16", None])
def test_bfloat16_is_right_also_on_narrow_maps(isa: str | None) -> None:
    """torch's own reads memory that nobody wrote there: AMX in every pass, AVX-512 in the gradient of the weights."""
    assert len(narrowed()) > 50
    cases = [(convolution, layout) for layout in FORMATS for convolution in (*narrowed(), *shipped())]
    wrong = {case: error for case, error in scan(cases, isa, 1, "bf16").items() if not error < 0.01}
    assert wrong == {}


@pytest.mark.parametrize("width", [1, 3, 6, 8])
@pytest.mark.parametrize("kind", [ResNetConfig, ResNetIRConfig])
def test_narrow_strides_are_taken_before_the_convolution(kind: Any, width: int) -> None:
    """The same numbers from the same weights; eight channels and more are left as they are."""
    torch.manual_seed(0)
    plain = build_backbone(kind(depths=(1, 1, 1, 1), width=width), 1, 32).eval()
    guarded = copy.deepcopy(plain)
    subsample_narrow_strides(guarded)
    maps, found = torch.randn(2, 1, 32, 33), []
    for network in (plain, guarded):
        out = network(maps)
        out.square().sum().backward()
        found.append([out, *(p.grad for p in network.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert guarded.state_dict().keys() == plain.state_dict().keys()
    strided = [[is_narrow_stride(m) for m in n.modules() if isinstance(m, nn.Conv2d)] for n in (plain, guarded)]
    assert any(strided[0]) == (width * (4 if kind is ResNetConfig else 1) < 8)
    assert not any(strided[1])


def test_every_task_is_built_without_narrow_strides() -> None:
    """Of a network as narrow as the tests make them, which crashed training on two ranks."""
    task = task_of(backbone=ResNetIRConfig(width=4, depths=(1, 1, 1, 1), embedding=8))
    convolutions = [m for m in task.modules() if isinstance(m, nn.Conv2d)]
    assert [m.in_channels for m in convolutions if m._forward_pre_hooks] == [4]
    assert not any(is_narrow_stride(m) for m in convolutions)


def test_every_task_is_built_right_in_bfloat16() -> None:
    """Of a network whose last maps of so short a clip have one column."""
    torch.manual_seed(0)
    network = task_of(backbone=ResNetConfig(width=32, depths=(1, 1, 1, 1))).core
    maps = torch.randn(32, 1, 32, 8)
    right = network(maps)
    for _ in range(5):
        fill_freed_memory()
        with torch.autocast("cpu", torch.bfloat16):
            found = network(maps).float()
        assert torch.cosine_similarity(found, right).min() > 0.99
