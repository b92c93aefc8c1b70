"""Optimisers: masked updates, LARS, saved state."""

from __future__ import annotations

import copy
import math
import typing
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from asd.errors import UserError
from asd.optim.build import build_optimizer, masked_optimizer
from asd.optim.config import OptimConfig
from asd.optim.lars import LARS

LARS_CONFIG = OptimConfig(name="lars", lr=0.8, weight_decay=0.05, momentum=0.7, trust=0.01)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))


def give_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.grad = torch.randn(p.shape, generator=generator)


def step(module: nn.Module, optimizer: torch.optim.Optimizer, seed: int, found_inf: float) -> None:
    give_gradients(module, seed)
    if found_inf:
        next(module.parameters()).grad[0, 0] = math.nan
    optimizer.found_inf = torch.tensor(found_inf)
    optimizer.step()


def snapshot(module: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    state = [v for s in optimizer.state_dict()["state"].values() for v in s.values() if isinstance(v, torch.Tensor)]
    return [t.detach().clone() for t in [*module.parameters(), *state]]


NAMES = typing.get_args(OptimConfig.model_fields["name"].annotation)


@pytest.mark.parametrize("name", NAMES)
def test_a_masked_update_changes_nothing(name):
    module = network()
    optimizer = build_optimizer(OptimConfig(name=name, lr=0.1, weight_decay=0.1), module.parameters())
    for seed in range(3):
        step(module, optimizer, seed, found_inf=0.0)
    before = snapshot(module, optimizer)
    step(module, optimizer, 3, found_inf=1.0)
    after = snapshot(module, optimizer)
    assert len(before) > 4
    assert all(a.equal(b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_training_goes_on_as_if_the_masked_update_had_never_been(name):
    """Also where it is the very first one, before the optimiser has any state."""
    config = OptimConfig(name=name, lr=0.1, weight_decay=0.1)
    hit, spared = network(), network()
    for module, flags in ((hit, (1.0, 0.0, 0.0, 1.0, 0.0)), (spared, (0.0, 0.0, 0.0))):
        optimizer = build_optimizer(config, module.parameters())
        good = 0
        for flag in flags:
            step(module, optimizer, good if not flag else 99, flag)
            good += not flag
    for ours, theirs in zip(hit.parameters(), spared.parameters(), strict=True):
        assert ours.equal(theirs)


MASKING = {
    "adam, fused": lambda weights: torch.optim.Adam(weights, fused=True),
    "adam, fused, amsgrad": lambda weights: torch.optim.Adam(weights, fused=True, amsgrad=True, weight_decay=0.1),
    "adamw, fused": lambda weights: torch.optim.AdamW(weights, fused=True),
    "sgd, fused": lambda weights: torch.optim.SGD(weights, lr=0.1, fused=True),
    "adagrad, fused": lambda weights: torch.optim.Adagrad(weights, fused=True),
    "lars": lambda weights: LARS(weights, lr=0.1),
}


NOT_MASKING = {
    **{f"{kind.__name__}, foreach": partial(kind, lr=0.1, foreach=True)
       for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop)},
    **{f"{kind.__name__}, plain": partial(kind, lr=0.1, foreach=False)
       for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, torch.optim.NAdam,
                    torch.optim.RAdam, torch.optim.Adadelta, torch.optim.Adamax, torch.optim.ASGD, torch.optim.Rprop)},
    "SGD, plain, with momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "LBFGS": torch.optim.LBFGS,
    "SparseAdam": torch.optim.SparseAdam,
    "Adafactor": torch.optim.Adafactor,
}  # fmt: skip


@pytest.mark.parametrize("build", MASKING.values(), ids=MASKING)
def test_an_optimiser_that_masks_updates_is_taken_as_it_is(build):
    weights = list(network().parameters())
    before = [p.detach().clone() for p in weights]
    optimizer = masked_optimizer(build, weights)
    assert not optimizer.state_dict()["state"] or isinstance(optimizer, torch.optim.Adagrad)
    assert all(p.equal(old) and p.grad is None for p, old in zip(weights, before, strict=True))
    for seed, masked in enumerate((True, False, True)):
        kept = [p.detach().clone() for p in weights]
        for p in weights:
            p.grad = torch.full_like(p, math.nan) if masked else torch.full_like(p, seed)
        optimizer.found_inf = torch.tensor(float(masked))
        optimizer.step()
        assert all(p.equal(old) for p, old in zip(weights, kept, strict=True)) == masked
        assert all(p.isfinite().all() for p in weights)


@pytest.mark.parametrize("build", NOT_MASKING.values(), ids=NOT_MASKING)
def test_an_optimiser_that_cannot_mask_an_update_is_refused_at_once(build):
    """RMSprop gave NaN weights, and said nothing."""
    module = network()
    before = [p.detach().clone() for p in module.parameters()]
    with pytest.raises(UserError, match="does not leave out an update whose gradient is not finite") as caught:
        masked_optimizer(build, list(module.parameters()))
    assert "\n" not in str(caught.value)
    assert all(p.equal(old) for p, old in zip(module.parameters(), before, strict=True))


def test_counting_a_masked_update_is_found_out():
    """Weights alone do not tell: Adam that counts an update it leaves out corrects its bias by the wrong number."""

    class Counting(LARS):
        def step(self, closure=None):
            super().step(closure)
            for own in self.state.values():
                own["step"] = own.get("step", 0) + 1

    masked_optimizer(lambda weights: LARS(weights, lr=0.1), list(network().parameters()))
    with pytest.raises(UserError, match="the optimiser Counting does not leave out"):
        masked_optimizer(lambda weights: Counting(weights, lr=0.1), list(network().parameters()))


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (OptimConfig(name="adam", lr=0.1, weight_decay=0.2, betas=(0.8, 0.9)), torch.optim.Adam),
        (OptimConfig(name="adamw", lr=0.1, weight_decay=0.2, betas=(0.8, 0.9)), torch.optim.AdamW),
        (OptimConfig(name="sgd", lr=0.1, weight_decay=0.2, momentum=0.7), torch.optim.SGD),
        (OptimConfig(name="sgd", lr=0.1, weight_decay=0.2, momentum=0.0), torch.optim.SGD),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_optimisers_are_torchs(config, reference):
    ours, theirs = network(), network()
    settings = {"momentum": config.momentum} if config.name == "sgd" else {"betas": (0.8, 0.9)}
    optimizers = [
        build_optimizer(config, ours.parameters()),
        reference(theirs.parameters(), lr=0.1, weight_decay=0.2, **settings),
    ]
    for seed in range(5):
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            give_gradients(module, seed)
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_frozen_parameters_are_left_alone():
    module = network()
    module[0].requires_grad_(False)
    (group,) = build_optimizer(OptimConfig(), module.parameters()).param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in module[1].parameters()]


@pytest.mark.parametrize("config", [OptimConfig(), LARS_CONFIG], ids=lambda config: config.name)
def test_state_survives_saving(tmp_path, config):
    module = network()
    optimizer = build_optimizer(config, module.parameters())
    step(module, optimizer, 0, 0.0)
    twin = copy.deepcopy(module)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    again = build_optimizer(config, twin.parameters())
    again.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    for m, o in ((module, optimizer), (twin, again)):
        step(m, o, 1, 0.0)
    assert all(a.equal(b) for a, b in zip(module.parameters(), twin.parameters(), strict=True))


def numpy_lars(weights, gradients, config: OptimConfig, lrs: list[float]) -> list[np.ndarray]:
    """The weights after some steps, in float64; gradients by step and parameter."""
    weights = [w.astype(np.float64) for w in weights]
    velocities = [np.zeros_like(w) for w in weights]
    for lr, of_step in zip(lrs, gradients, strict=True):
        for i, gradient in enumerate(of_step):
            update = gradient.astype(np.float64)
            if weights[i].ndim > 1 or not config.exclude_vectors:
                update = update + config.weight_decay * weights[i]
                own, length = np.sqrt(np.sum(weights[i] ** 2)), np.sqrt(np.sum(update**2))
                if own > 0 and length > 0:
                    update = config.trust * own / length * update
            velocities[i] = config.momentum * velocities[i] + update
            weights[i] = weights[i] - lr * velocities[i]
    return weights


@pytest.mark.parametrize("exclude_vectors", [True, False])
def test_lars_equals_numpy(exclude_vectors):
    config = LARS_CONFIG.model_copy(update={"exclude_vectors": exclude_vectors})
    module = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3), nn.PReLU())
    nn.init.zeros_(module[2].weight)  # a norm of 0: the update as it is
    before = [p.detach().numpy().copy() for p in module.parameters()]
    optimizer = build_optimizer(config, module.parameters())
    gradients, lrs = [], [0.0, 0.4, 0.8, 0.5, 0.1]
    for seed, lr in enumerate(lrs):
        give_gradients(module, seed)
        gradients.append([p.grad.numpy().copy() for p in module.parameters()])
        for group in optimizer.param_groups:  # as the trainer does
            group["lr"] = lr
        optimizer.step()
    for ours, expected in zip(module.parameters(), numpy_lars(before, gradients, config, lrs), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_lars_step_is_the_trust_share_of_the_weights_whatever_the_gradient():
    for size in (1e-6, 1.0, 1e6):
        weight = nn.Parameter(torch.randn(4, 5, generator=torch.Generator().manual_seed(0)))
        before = weight.detach().clone()
        optimizer = LARS([weight], lr=0.5, momentum=0.9, trust=0.001)
        weight.grad = size * torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
        optimizer.step()
        share = (weight.detach() - before).norm() / before.norm()
        assert share.item() == pytest.approx(0.5 * 0.001, rel=1e-3)


def test_lars_leaves_weights_without_gradient_alone():
    with_one, without = (nn.Parameter(torch.ones(2, 3)) for _ in range(2))
    optimizer = LARS([{"params": [without]}, {"params": [without.clone().detach(), with_one]}], lr=0.5)
    with_one.grad = torch.ones(2, 3)
    optimizer.step()
    assert without.eq(1).all() and "momentum_buffer" not in optimizer.state[without]
    assert with_one.lt(1).all()


def test_lars_leaves_biases_and_norms_out_of_decay_and_adaptation():
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.PReLU())
    matrices, vectors = build_optimizer(LARS_CONFIG, module.parameters()).param_groups
    assert [p.ndim for p in matrices["params"]] == [4]
    assert [p.ndim for p in vectors["params"]] == [1, 1, 1, 1]
    assert (matrices["weight_decay"], matrices["adapt"]) == (0.05, True)
    assert (vectors["weight_decay"], vectors["adapt"]) == (0.0, False)
    (group,) = build_optimizer(LARS_CONFIG, [module[1].weight]).param_groups
    assert not group["adapt"]


def test_lars_unscales_what_a_scaler_leaves_to_it():
    """GradScaler sets grad_scale and found_inf on optimisers that say that they look at them."""
    scaled, plain = network(), network()
    config = LARS_CONFIG.model_copy(update={"weight_decay": 0.5})
    ours, theirs = (build_optimizer(config, m.parameters()) for m in (scaled, plain))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        ours.zero_grad(), theirs.zero_grad()
        scaler.scale(scaled(x).square().mean()).backward()
        scaler.step(ours)
        scaler.update()
        plain(x).square().mean().backward()
        theirs.step()
    for a, b in zip(scaled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_lars_never_reads_from_the_device():
    """Tensors on the meta device have no values: who asked for one would fail. The step itself is torch's own SGD."""
    module = network().to("meta")
    optimizer = LARS(module.parameters(), lr=0.8, weight_decay=0.05)
    for p in module.parameters():
        p.grad = torch.empty_like(p)
    optimizer.grad_scale = torch.empty((), device="meta")
    updates = optimizer._adapted([*module.parameters()], optimizer.param_groups[0])
    assert [update.shape for update in updates] == [p.shape for p in module.parameters()]
    with pytest.raises(RuntimeError):
        bool(optimizer.grad_scale)
