"""Weights that a user brings: taken whole or refused in one line, and no part of what a run saves."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from asd.backbones import CrepeConfig, build_backbone
from asd.errors import UserError
from tests.support.encoders import TINY_CREPE, borrowing, changed_crepe, crepe, crepe_tensors
from tests.support.nets import without_gradient

WAVE = torch.randn(2, 1, 1, 2048, generator=torch.Generator().manual_seed(0))


def saved(path: Path, tensors: dict[str, Tensor]) -> CrepeConfig:
    torch.save(tensors, path)
    return CrepeConfig(weights=str(path))


def test_a_file_that_lacks_tensors_is_refused_and_they_are_named(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in crepe_tensors().items() if not name.startswith("conv3")}
    lacks = r"tiny\.pth does not fit backbone crepe: it lacks .*conv\.bias.* and 4 more: nothing is loaded"
    with pytest.raises(UserError, match=lacks):
        borrowing(saved(tmp_path / "tiny.pth", tensors))


def test_a_file_with_more_than_the_network_is_refused(tmp_path: Path) -> None:
    tensors = crepe_tensors() | {"conv9.weight": torch.zeros(3)}
    with pytest.raises(UserError, match=r"it has left over blocks\.8\.conv\.weight: nothing"):
        borrowing(saved(tmp_path / "tiny.pth", tensors))


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    tensors = crepe_tensors() | {"conv2.bias": torch.zeros(3)}
    with pytest.raises(UserError, match=r"it misshapes blocks\.1\.conv\.bias: nothing"):
        borrowing(saved(tmp_path / "tiny.pth", tensors))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, r"does not exist: name tiny\.pth"),
        (lambda path: path.write_bytes(b"no weights"), r"is no state dict of CREPE, or only a part of one"),
        (lambda path: torch.save({"epoch": 3}, path), r"is no state dict of CREPE: name tiny\.pth"),
        (lambda path: torch.save([1, 2], path), r"is no state dict of CREPE: name tiny\.pth"),
        (lambda path: path.mkdir(), r"is no state dict of CREPE but a folder"),
    ],
    ids=["nothing", "text", "other values", "a list", "a folder"],
)
def test_what_is_no_file_of_weights_is_one_line(make, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    make(path)
    with pytest.raises(UserError, match=said) as error:
        borrowing(CrepeConfig(weights=str(path)))
    assert "\n" not in str(error.value)


def test_safetensors_are_read_and_damaged_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_file(crepe_tensors(), path)
    config = CrepeConfig(weights=str(path))
    assert torch.equal(borrowing(config)(WAVE), crepe()(WAVE))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"tiny\.safetensors is no state dict of CREPE \("):
        borrowing(config)


def test_a_run_that_goes_on_must_have_the_file_that_it_began_with(tmp_path: Path) -> None:
    digest = hashlib.sha256(TINY_CREPE.read_bytes()).hexdigest()
    assert crepe(sha256=digest).config.sha256 == crepe().config.sha256 == digest
    other = changed_crepe(tmp_path / "tiny.pth")
    with pytest.raises(UserError, match=rf"is another file than backbone\.sha256 says \({digest[:12]}…, this one"):
        crepe(weights=str(other), sha256=digest)


def test_borrowed_weights_are_no_part_of_what_is_saved() -> None:
    network = crepe(project=8)
    state = network.state_dict()
    assert set(state) == {"projection.weight", "projection.bias"}
    other = crepe(project=8)
    assert not torch.equal(other(WAVE), network(WAVE))
    other.load_state_dict(state)
    assert torch.equal(other(WAVE), network(WAVE))
    with pytest.raises(RuntimeError, match=r"Missing key.*projection\.bias"):
        other.load_state_dict({"projection.weight": state["projection.weight"]})


def test_weights_that_learn_are_saved() -> None:
    network = crepe(tune="all")
    assert {f"network.{name}" for name in network.network.state_dict()} == set(network.state_dict())
    network.train()(WAVE).square().sum().backward()
    assert without_gradient(network) == []


def test_what_does_not_learn_rests() -> None:
    network = crepe(project=8).train()
    before = {name: tensor.clone() for name, tensor in network.network.state_dict().items()}
    network(WAVE).sum().backward()
    assert all(p.grad is None for p in network.network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.network.state_dict().items())
    assert network.projection.weight.grad.any()


def test_a_settled_network_needs_no_file() -> None:
    network = crepe(layers=(4, 6))
    wanted, config = network(WAVE), network.settle()
    assert (config.weights, config.tune) == (None, "none")
    alone = build_backbone(config, 1, 1)
    alone.load_state_dict(network.state_dict())
    assert torch.equal(alone.eval()(WAVE), wanted)


def test_activations_that_are_computed_again_give_the_same_gradients() -> None:
    found = []
    for again in (False, True):
        network = crepe(tune="all", checkpointing=again).eval()
        network(WAVE).square().sum().backward()
        found.append([p.grad for p in network.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
