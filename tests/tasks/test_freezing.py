"""Frozen parts rest: weights and running statistics stay to the bit while the others move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asd.backbones import (
    BeatsConfig,
    CPResNetConfig,
    EfficientNetConfig,
    MobileFaceNetConfig,
    MobileNetV2Config,
    ResNetConfig,
    ResNetIRConfig,
    build_backbone,
)
from asd.errors import UserError
from asd.frontends import WaveformConfig
from asd.losses import ArcFaceConfig, SubClusterAdaCosConfig
from asd.tasks.base import Task
from asd.tasks.build import build_task
from asd.tasks.freezing import frozen_parts
from asd.tasks.system import System
from tests.support.encoders import beats_file
from tests.support.parts import batch_of, task_of

# Each with the names below which its last block and all that follows lie.
BACKBONES = {
    "mobilefacenet": (
        MobileFaceNetConfig(bottlenecks=((2, 32, 1, 2), (2, 32, 2, 1)), width=0.25, embedding=16),
        ("body.4.", "body.5.", "over_maps.", "project.", "norm."),
    ),
    "mobilenet_v2": (
        MobileNetV2Config(bottlenecks=((1, 16, 1, 1), (2, 16, 2, 2)), last=32),
        ("body.3.", "body.4.", "over_maps."),
    ),
    "efficientnet_b0": (
        EfficientNetConfig(bottlenecks=((1, 16, 1, 1, 3), (2, 16, 2, 2, 3)), width=0.5, drop_connect=0),
        ("body.3.", "body.4.", "project."),
    ),
    "cp_resnet": (CPResNetConfig(rho_f=2, rho_t=2, width=8), ("blocks.12.",)),
    "resnet50": (ResNetConfig(depths=(1, 1, 1, 2), width=8, embedding=16), ("layers.8.", "project.")),
    "resnet50_ir": (
        ResNetIRConfig(depths=(1, 1, 1, 2), width=8, embedding=16, dropout=0.5),
        ("stages.3.1.", "neck."),
    ),
}


def build(backbone: str = "cp_resnet", freeze: str = "none", **parts: object) -> Task:
    task = task_of(backbone=BACKBONES[backbone][0], loss=ArcFaceConfig(), **parts)
    task.freeze(*frozen_parts(task, freeze))
    return task


def state(task: Task) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in task.state_dict().items()}


def moved_by_a_step(task: Task) -> set[str]:
    """Names of weights and statistics that two optimiser steps change, with weight decay, as the trainer does them."""
    task.train()
    wanted = [p for p in task.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(wanted, lr=0.1, weight_decay=0.1)
    before = state(task)
    for seed in (0, 1):
        optimiser.zero_grad()
        task(batch_of([0, 1, 2, 0], seed=seed)).loss.backward()
        optimiser.step()
    return {name for name, value in state(task).items() if not value.equal(before[name])}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_without_freezing_everything_moves(backbone: str) -> None:
    task = build(backbone)
    assert moved_by_a_step(task) == set(state(task))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_all_but_the_centres_rest(backbone: str) -> None:
    task = build(backbone, "all_but_centres")
    assert moved_by_a_step(task) == {"loss.centres"}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_centres_rest(backbone: str) -> None:
    task = build(backbone, "centres")
    assert moved_by_a_step(task) == set(state(task)) - {"loss.centres"}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_all_before_the_last_block_rests(backbone: str) -> None:
    task = build(backbone, "all_but_last_block")
    last = tuple(f"encoder.backbone.{name}" for name in BACKBONES[backbone][1])
    expected = {name for name in state(task) if name == "loss.centres" or name.startswith(last)}
    assert moved_by_a_step(task) == expected
    assert len(expected) < len(state(task))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_before_the_last_block_comes_what_runs_before_it(backbone: str) -> None:
    """The named modules run first and one after the other; nothing that runs before the last block is left out."""
    network = build_backbone(BACKBONES[backbone][0], 1, 32)
    named = [leaf for module in network.before_last_block() for leaf in _leaves(module)]
    order: list[nn.Module] = []
    for leaf in _leaves(network):
        leaf.register_forward_pre_hook(lambda module, _: order.append(module))
    network.eval()(torch.randn(2, 1, 32, 16))
    assert named
    assert {id(leaf) for leaf in order[: len(named)]} == {id(leaf) for leaf in named}


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    return (m for m in module.modules() if not list(m.children()))


def test_frozen_dropout_rests_too() -> None:
    task = build("resnet50_ir", "all_but_centres").train()
    batch = batch_of([0, 1, 2, 0])
    assert task(batch).loss.equal(task(batch).loss)
    learning = build("resnet50_ir").train()
    assert not learning(batch).loss.equal(learning(batch).loss)


def test_frozen_parts_rest_after_every_evaluation() -> None:
    """The trainer goes back to training after each one."""
    task = build(freeze="all_but_last_block")
    task.eval()
    task.train()
    modes = {name: module.training for name, module in task.named_modules()}
    assert not modes["encoder.backbone.stem.1"]
    assert not modes["encoder.backbone.blocks.11.residual.1"]
    assert modes["encoder.backbone.blocks.12.residual.1"]
    assert modes["loss"]


def test_the_learned_frontend_rests_with_the_backbone() -> None:
    tast = {"name": "tast", "mel": {"n_fft": 512, "hop": 256, "n_mels": 32}}
    for freeze in ("all_but_centres", "all_but_last_block"):
        assert not any(
            name.startswith("encoder.frontend") for name in moved_by_a_step(build(freeze=freeze, frontend=tast))
        )
    assert any(name.startswith("encoder.frontend") for name in moved_by_a_step(build(freeze="centres", frontend=tast)))


def test_nothing_is_frozen_by_none() -> None:
    assert frozen_parts(build(), "none") == ()


@pytest.mark.parametrize("freeze", ["all_but_centres", "all_but_last_block", "centres"])
def test_a_task_without_centres_is_refused(freeze: str) -> None:
    task = task_of(task={"name": "vicreg", "expander": {"widths": [8]}}, loss=None)
    with pytest.raises(UserError, match=f"model.freeze={freeze} is for tasks with class centres: set it to none"):
        frozen_parts(task, freeze)
    assert frozen_parts(task, "none") == ()


def test_fixed_centres_alone_have_nothing_to_learn() -> None:
    task = task_of(loss=SubClusterAdaCosConfig(trained=False))
    with pytest.raises(UserError, match=r"leaves nothing to train with loss\.trained=false"):
        frozen_parts(task, "all_but_centres")
    assert frozen_parts(task, "centres") == (task.loss,)


@pytest.mark.parametrize("tune", ["none", "lora", "all"])
def test_of_a_pre_trained_encoder_the_centres_alone_can_learn(tune: str, tmp_path: Path) -> None:
    """Which of its blocks learn is for backbone.tune to say."""
    config = BeatsConfig(weights=str(beats_file(tmp_path)), layers=(3,), tune=tune, pool="attentive", project=8)
    known, borrowed = config.with_weights()
    system = System(frontend=WaveformConfig(), backbone=known, loss=SubClusterAdaCosConfig())
    task = build_task(system, 0, 16_000, 3, borrowed=borrowed)
    with pytest.raises(
        UserError, match=r"all_but_last_block is not for backbone beats: backbone\.tune says what learns"
    ):
        frozen_parts(task, "all_but_last_block")
    task.freeze(*frozen_parts(task, "all_but_centres"))
    assert [name for name, p in task.named_parameters() if p.requires_grad] == ["loss.centres"]
