"""SyncBatchNorm on two processes equals BatchNorm on the whole batch: outputs, gradients, running statistics."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from asd.backbones.norms import SyncBatchNorm, norm1d, norm2d

ROOT = Path(__file__).parents[2]

# Runs in each of two processes: its half of the batch through SyncBatchNorm, two steps, everything saved.
WORKER = """
import sys
import torch
import torch.distributed as dist
from asd.backbones.norms import SyncBatchNorm

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
results = {}
for name, case in torch.load(f"{folder}/cases.pt").items():
    half = len(case["steps"][0]) // 2
    layer = SyncBatchNorm(case["steps"][0].shape[1], affine="weight" in case["state"])
    layer.load_state_dict(case["state"])
    outputs, gradients = [], []
    for whole, weights in zip(case["steps"], case["weights"]):
        x = whole[rank * half:(rank + 1) * half].clone().requires_grad_()
        y = layer(x)
        (y * weights[rank * half:(rank + 1) * half]).sum().backward()
        outputs.append(y.detach())
        gradients.append(x.grad)
    for p in layer.parameters():  # what DDP does, but as a sum
        dist.all_reduce(p.grad)
    layer.eval()
    results[name] = {
        "outputs": outputs,
        "gradients": gradients,
        "parameters": [p.grad for p in layer.parameters()],
        "running": [layer.running_mean, layer.running_var],
        "eval": layer(case["steps"][0][rank * half:(rank + 1) * half]).detach(),
    }
torch.save(results, f"{folder}/rank{rank}.pt")
dist.destroy_process_group()
"""

SHAPES = {"maps": (8, 5, 6, 7), "vectors": (6, 9), "two_vectors": (2, 4), "maps as they are": (8, 5, 6, 7)}
PLAIN = "maps as they are"  # no learned scale and shift


def make_case(shape: tuple[int, ...], affine: bool) -> dict:
    layer = nn.BatchNorm2d(shape[1], affine=affine)
    if affine:
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    steps = [30 * torch.randn(shape) - 60 for _ in range(2)]  # decibels, rows of different means
    steps = [s + 10 * torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1)) for s in steps]
    return {"state": layer.state_dict(), "steps": steps, "weights": [torch.randn(shape) for _ in range(2)]}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, list[dict]]:
    """The cases, and what each of two processes made of them."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sync")
    cases = {name: make_case(shape, name != PLAIN) for name, shape in SHAPES.items()}
    torch.save(cases, folder / "cases.pt")
    command = [sys.executable, "-c", WORKER]
    workers = [subprocess.Popen([*command, str(rank), str(folder)], cwd=ROOT) for rank in range(2)]
    try:
        assert [worker.wait() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    return cases, [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


def whole_batch(case: dict) -> dict:
    """The same two steps through torch's BatchNorm in float64, on the whole batch."""
    shape = case["steps"][0].shape
    layer = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[1], affine="weight" in case["state"])
    layer.load_state_dict(case["state"])
    layer.double()
    outputs, gradients = [], []
    for whole, weights in zip(case["steps"], case["weights"], strict=True):
        x = whole.double().requires_grad_()
        y = layer(x)
        (y * weights).sum().backward()
        outputs.append(y.detach())
        gradients.append(x.grad)
    layer.eval()
    return {
        "outputs": outputs,
        "gradients": gradients,
        "parameters": [p.grad for p in layer.parameters()],
        "running": [layer.running_mean, layer.running_var],
        "eval": layer(case["steps"][0].double()).detach(),
    }


@pytest.mark.parametrize("name", SHAPES)
def test_two_ranks_equal_the_whole_batch(two_ranks, name):
    cases, ranks = two_ranks
    expected, got = whole_batch(cases[name]), [rank[name] for rank in ranks]

    def close(a: torch.Tensor, b: torch.Tensor) -> None:
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)

    for step in range(2):
        close(torch.cat([g["outputs"][step] for g in got]), expected["outputs"][step])
        close(torch.cat([g["gradients"][step] for g in got]), expected["gradients"][step])
    close(torch.cat([g["eval"] for g in got]), expected["eval"])
    for rank in got:
        for ours, theirs in zip(
            rank["parameters"] + rank["running"], expected["parameters"] + expected["running"], strict=True
        ):
            close(ours, theirs)
    assert all(a.equal(b) for a, b in zip(got[0]["running"], got[1]["running"], strict=True))


@pytest.mark.parametrize("shape", [(4, 6, 3, 3), (4, 6)])
def test_one_rank_is_plain_batch_norm(shape):
    torch.manual_seed(0)
    sync, plain = SyncBatchNorm(6), (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(6)
    for _ in range(3):
        x = torch.randn(shape)
        assert sync(x).equal(plain(x))
    assert sync.running_mean.equal(plain.running_mean)
    assert sync.running_var.equal(plain.running_var)
    assert sync.eval()(x).equal(plain.eval()(x))


def test_norm_kinds_are_what_they_are_called():
    assert isinstance(norm2d("batch", 64), nn.BatchNorm2d)
    assert isinstance(norm1d("batch", 64), nn.BatchNorm1d)
    assert isinstance(norm2d("sync", 64), SyncBatchNorm)
    assert isinstance(norm1d("sync", 64), SyncBatchNorm)
    for channels in (8, 24, 64, 100, 7, 1):
        for norm in (norm1d("group", channels), norm2d("group", channels)):
            assert isinstance(norm, nn.GroupNorm)
            assert channels % norm.num_groups == 0
    kinds = ("batch", "sync", "group")
    plain = [norm(kind, 64, affine=False) for norm in (norm1d, norm2d) for kind in kinds]
    assert [type(norm) for norm in plain] == [type(norm(kind, 64)) for norm in (norm1d, norm2d) for kind in kinds]
    assert not any(list(norm.parameters()) for norm in plain)


@pytest.mark.parametrize("features", [16, 24, 128, 2048])
def test_group_norm_of_vectors_keeps_more_than_signs(features):
    """With two values a group every output would be ±1."""
    x = torch.randn(5, features, generator=torch.Generator().manual_seed(0))
    assert len(norm1d("group", features)(x).abs().round(decimals=2).unique()) > 10
