"""Low-rank adapters: nothing at first, all that learns, folded in at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from asd.backbones import build_backbone
from asd.backbones.encoders.base import PretrainedEncoder
from asd.backbones.encoders.lora import LoraConfig, LoraLinear
from tests.backbones.encoders.test_transformers_of_patches import Make, both
from tests.support.encoders import borrowing, sound
from tests.support.nets import count, without_gradient

RANK = 3
LORA = {"tune": "lora", "lora": LoraConfig(rank=RANK, alpha=6)}
CLIPS = sound(20_000)[:, None, None]


def moved(network: PretrainedEncoder) -> PretrainedEncoder:
    """As if it had learnt."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("lora_b"):
                parameter.normal_(0, 0.5, generator=generator)
    return network


@both
def test_an_adapter_adds_nothing_at_first_and_then_its_product(make: Make, tmp_path: Path) -> None:
    plain, adapted = borrowing(make(tmp_path)), borrowing(make(tmp_path, **LORA))
    assert torch.allclose(
        plain(CLIPS), adapted(CLIPS), atol=1e-5
    )  # attention has another kernel where something learns
    assert not torch.allclose(plain(CLIPS), moved(adapted)(CLIPS), atol=1e-2)
    layer = next(module for module in adapted.modules() if isinstance(module, LoraLinear))
    x = torch.randn(5, layer.in_features)
    added = (6 / RANK) * (layer.lora_b @ (layer.lora_a @ x.T)).T
    assert torch.allclose(layer(x), nn.functional.linear(x, layer.weight, layer.bias) + added, atol=1e-5)


@both
def test_queries_and_values_have_adapters_in_every_block(make: Make, tmp_path: Path) -> None:
    network = borrowing(make(tmp_path, **LORA))
    adapted = [name for name, module in network.network.named_modules() if isinstance(module, LoraLinear)]
    kinds = {"beats": ["attention.q_proj", "attention.v_proj"], "eat": ["qkv"]}[make.__name__]
    assert sorted(adapted) == [f"blocks.{index}.{kind}" for index in range(3) for kind in kinds]


@both
def test_adapters_and_head_alone_learn_and_are_saved(make: Make, tmp_path: Path) -> None:
    network = moved(borrowing(make(tmp_path, **LORA, pool="attentive", project=8))).train()
    network(CLIPS).square().sum().backward()
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    assert learning == set(network.state_dict())
    assert {name.rpartition(".")[2] for name in learning if name.startswith("network.")} == {"lora_a", "lora_b"}
    assert {name.partition(".")[0] for name in learning} == {"network", "attention", "projection"}
    assert set(without_gradient(network)) == {n for n, p in network.named_parameters() if not p.requires_grad}
    other = borrowing(make(tmp_path, **LORA, pool="attentive", project=8))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(CLIPS), network(CLIPS))


@both
def test_a_settled_network_has_them_folded_in(make: Make, tmp_path: Path) -> None:
    network = moved(borrowing(make(tmp_path, **LORA, layers=(1, 3))))
    wanted, config = network(CLIPS), network.settle()
    alone = build_backbone(config, 1, 1)  # type: ignore[arg-type]
    alone.load_state_dict(network.state_dict())
    assert torch.allclose(alone.eval()(CLIPS), wanted, atol=1e-4)
    assert count(alone) == count(borrowing(make(tmp_path)))
    assert not any(isinstance(module, LoraLinear) for module in network.modules())


@both
def test_all_of_a_network_can_learn(make: Make, tmp_path: Path) -> None:
    """DDP waits for every parameter's gradient."""
    network = borrowing(make(tmp_path, tune="all", pool="bands")).train()
    network(CLIPS).square().sum().backward()
    assert without_gradient(network) == []
    assert set(network.state_dict()) == {f"network.{name}" for name in network.network.state_dict()}


@both
@pytest.mark.parametrize("tune", ["lora", "all"])
def test_activations_computed_again_give_the_same_gradients(make: Make, tune: str, tmp_path: Path) -> None:
    found, kept = [], []
    for again in (False, True):
        torch.manual_seed(0)
        network = moved(borrowing(make(tmp_path, **{**LORA, "tune": tune}, checkpointing=again))).train()
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, all=sizes: all.append(t.numel()) or t, lambda t: t):
            loss = network(CLIPS).square().sum()
        loss.backward()
        found.append([p.grad for p in network.parameters() if p.requires_grad])
        kept.append(sum(sizes))
    assert all(torch.allclose(*pair, atol=1e-5, rtol=1e-4) for pair in zip(*found, strict=True))
    assert kept[1] < kept[0] / 2
