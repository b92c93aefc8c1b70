"""Averaged weights follow their formula, leave out skipped steps, and stand in for the newest only where asked to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from asd.train.ema import AveragedWeights

SKIPPED, TAKEN = torch.tensor(True), torch.tensor(False)


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 4))
    net[2].requires_grad_(False)
    return net


def move(net: nn.Module, seed: int) -> None:
    """New weights that learn, and new statistics."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in net[:2].parameters():  # type: ignore[index]
            weight.copy_(torch.randn_like(weight))
    net(torch.randn(5, 2))


def state(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_each_step_moves_them_by_its_share() -> None:
    net = network()
    averaged = AveragedWeights(net, decay=0.25)
    expected = {name: state(net)[name].double() for name in averaged.tensors}
    for step, decay in enumerate((0.1, 2 / 11, 0.25, 0.25)):  # (1 + t) / (10 + t) up to the decay
        move(net, step)
        averaged.update(step, TAKEN)
        expected = {n: decay * old + (1 - decay) * state(net)[n].double() for n, old in expected.items()}
    for name, tensor in averaged.tensors.items():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_they_are_of_what_learns_and_of_running_statistics() -> None:
    learns = {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert set(AveragedWeights(network(), 0.9).tensors) == learns | {"1.running_mean", "1.running_var"}


def test_a_skipped_step_changes_nothing() -> None:
    net = network()
    averaged = AveragedWeights(net, 0.9)
    before = {name: tensor.clone() for name, tensor in averaged.tensors.items()}
    move(net, 1)
    averaged.update(0, SKIPPED)
    assert all(torch.equal(averaged.tensors[name], tensor) for name, tensor in before.items())
    averaged.update(1, TAKEN)
    assert not any(torch.equal(averaged.tensors[name], tensor) for name, tensor in before.items())


def test_the_newest_weights_come_back_also_after_a_failure() -> None:
    net = network()
    averaged = AveragedWeights(net, 0.9)
    move(net, 1)
    newest = state(net)
    with pytest.raises(KeyError), averaged.in_place():
        assert all(torch.equal(state(net)[name], tensor) for name, tensor in averaged.tensors.items())
        assert not torch.equal(state(net)["0.weight"], newest["0.weight"])
        raise KeyError
    assert all(torch.equal(tensor, newest[name]) for name, tensor in state(net).items())


def test_they_go_on_from_saved_ones_or_begin_at_the_weights() -> None:
    net = network()
    averaged, other = AveragedWeights(net, 0.9), AveragedWeights(net, 0.9)
    move(net, 1)
    averaged.update(0, TAKEN)
    other.restore(averaged.tensors)
    assert all(torch.equal(other.tensors[name], tensor) for name, tensor in averaged.tensors.items())
    other.restore(None)
    assert all(torch.equal(state(net)[name], tensor) for name, tensor in other.tensors.items())
    with pytest.raises(ValueError, match="another network"):
        other.restore({"0.weight": torch.zeros(1)})
