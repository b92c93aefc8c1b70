"""Floating-point operations of a step, counted by hand and as they run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asd.train.work import CARDS, Products, StepWork, peak_flops
from benchmarks.speed.step_costs import Counter, Peaks

CPU = torch.device("cpu")


def counted(network: nn.Module, given: torch.Tensor) -> float:
    """What is foreseen, which is what a whole step takes."""
    with Products() as products:
        found = network(given).sum()
    with Counter(Peaks(1.0, 1.0)) as step:
        network(given).sum().backward()
    assert products.flops == step.flops
    found.backward()
    return products.flops


@pytest.mark.parametrize(
    ("network", "shape", "forward", "passes"),
    [
        (nn.Linear(8, 3, bias=False), (5, 8), 2 * 5 * 8 * 3, 2),  # no gradient of what is given to the first layer
        (nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), (5, 8), 2 * 5 * 8 * 8, 5),
        (nn.Conv2d(4, 6, 3, bias=False), (2, 4, 10, 10), 2 * (2 * 6 * 8 * 8) * (4 * 9), 2),
        (nn.Conv2d(4, 4, 3, groups=4, bias=False), (2, 4, 10, 10), 2 * (2 * 4 * 8 * 8) * 9, 2),  # depth-wise
        (nn.Sequential(nn.ReLU(), nn.BatchNorm1d(8)), (5, 8), 1, 0),
    ],
)
def test_products_of_forward_and_backward(
    network: nn.Module, shape: tuple[int, ...], forward: int, passes: int
) -> None:
    assert counted(network, torch.ones(shape)) == passes * forward


def test_attention_counts() -> None:
    query = torch.ones(2, 4, 16, 8, requires_grad=True)
    product = 2 * (2 * 4) * 16 * 16 * 8  # of two heads' queries with keys, or of weights with values
    with Products() as learnt:
        nn.functional.scaled_dot_product_attention(query, query, query)
    with Products() as frozen, torch.no_grad():
        nn.functional.scaled_dot_product_attention(query, query, query)
    assert frozen.flops == 2 * product
    assert learnt.flops == (2 + 5) * product  # one of them anew


def test_frozen_parts_take_a_forward_pass() -> None:
    frozen, head = nn.Linear(8, 8).requires_grad_(False), nn.Linear(8, 8)
    with Products() as products:
        head(frozen(torch.ones(5, 8)))
    assert products.flops == (1 + 2) * 2 * 5 * 8 * 8


def test_a_clip_s_cost_is_counted_once() -> None:
    task, given = nn.Linear(8, 3, bias=False), torch.ones(5, 8)
    work = StepWork(task, CPU, "fp32")
    assert work.record(100.0, 1) == {}
    for rows in (5, 1):
        with work.counting(rows):
            task(given[:rows])
    assert work.record(1e12, 2) == {"tflop_per_s": pytest.approx(2 * 2 * 8 * 3)}  # a processor is no known card


def test_of_a_compiled_network_nothing_is_counted() -> None:
    task = nn.Linear(8, 3)
    task.compile(backend="eager")
    work = StepWork(task, CPU, "fp32")
    with work.counting(5):
        task(torch.ones(5, 8))
    assert work.record(100.0, 1) == {}


def test_cards_are_known_by_torch_s_name_of_them() -> None:
    assert peak_flops("NVIDIA H200", "bf16") == 989e12
    assert peak_flops("NVIDIA H100 PCIe", "fp32") == 378e12 != peak_flops("NVIDIA H100 80GB HBM3", "fp32")
    assert peak_flops("NVIDIA A100-SXM4-80GB", "fp16") == 312e12
    assert peak_flops("", "bf16") is None
    assert all(sixteen > full for sixteen, full in CARDS.values())


def test_part_of_a_known_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd.train.work.peak_flops", lambda card, precision: 4e12)
    task = nn.Linear(8, 3, bias=False)
    work = StepWork(task, CPU, "bf16")
    with work.counting(5):
        task(torch.ones(5, 8))
    found = work.record(1e10, 2)  # 96 operations a clip
    assert found == {"tflop_per_s": pytest.approx(0.96), "mfu_percent": pytest.approx(12.0)}
