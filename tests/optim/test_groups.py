"""Parts of a network that learn at a rate of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asd.errors import UserError
from asd.optim.build import build_optimizer
from asd.optim.config import OptimConfig
from asd.optim.groups import parts_of, set_apart


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
        self.encoder_too = nn.Linear(4, 2)


def apart(config: OptimConfig, net: nn.Module) -> torch.optim.Optimizer:
    optimizer = build_optimizer(config, net.parameters())
    set_apart(optimizer, parts_of(config, net))
    return optimizer


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "lars"])
def test_every_weight_is_in_one_group_at_its_rate(name: str) -> None:
    """The first that fits counts; `encoder` is not `encoder_too`."""
    groups = [{"part": "encoder.0", "lr": 0.5}, {"part": "encoder", "lr": 0.25}]
    net = Net()
    optimizer = apart(OptimConfig(name=name, lr=2.0, groups=groups), net)  # type: ignore[arg-type]
    shares = {id(p): group.get("lr_share", 1.0) for group in optimizer.param_groups for p in group["params"]}
    assert len(shares) == sum(len(group["params"]) for group in optimizer.param_groups) == 6
    found = {name: shares[id(p)] for name, p in net.named_parameters()}
    wanted = {"encoder.0": 0.25, "encoder.1": 0.125, "encoder_too": 1.0}
    assert found == {f"{part}.{leaf}": share for part, share in wanted.items() for leaf in ("weight", "bias")}
    if name == "lars":
        assert {(g.get("lr_share", 1.0), g["adapt"]) for g in optimizer.param_groups} == {
            (share, adapt) for share in wanted.values() for adapt in (True, False)
        }


def test_what_rests_is_in_no_group() -> None:
    net = Net()
    net.encoder[0].requires_grad_(False)
    optimizer = apart(OptimConfig(lr=1.0, groups=[{"part": "encoder", "lr": 0.5}]), net)  # type: ignore[list-item]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    with pytest.raises(UserError, match=r"nothing that learns is called encoder\.0…: there is encoder\.1\.bias, enc"):
        parts_of(OptimConfig(groups=[{"part": "encoder.0", "lr": 0.5}]), net)  # type: ignore[list-item]


def test_without_groups_the_optimizer_is_as_it_was() -> None:
    net = Net()
    plain, same = build_optimizer(OptimConfig(), net.parameters()), apart(OptimConfig(), net)
    assert same.state_dict() == plain.state_dict()


def test_a_network_of_which_nothing_learns_is_refused() -> None:
    with pytest.raises(UserError, match=r"nothing of the network learns: change model\.freeze, backbone\.tune or loss"):
        parts_of(OptimConfig(), Net().requires_grad_(False))
