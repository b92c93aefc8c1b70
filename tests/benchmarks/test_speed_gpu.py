"""The part `gpu`, run on the CPU at tiny size: only the device differs."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.speed import gpu
from benchmarks.speed.step_costs import Counter, Peaks, measure_peaks
from benchmarks.speed.steps import Setting

TINY = (
    "data.crop_s=0.5",
    "frontend.n_mels=32",
    "backbone.width=8",
    "backbone.depths=[1,1,1,1]",
)


def test_the_part_runs_end_to_end_on_a_cpu(tmp_path: Path) -> None:
    setting = Setting("dcase2020_integrated", 8, words=TINY)
    few = {"steps": 1, "warm_up": 1, "clips": 2, "clip_s": 0.5, "largest_batch": 8, "matrix": 64, "compiled": ()}
    every = ("autoencoder", "encoder_frozen")  # the second has nothing to train, and no weights here
    sizes = gpu.Sizes({"small": setting}, {"small": 0.7}, **few, resident="host", every_batch=8, every=every)  # type: ignore[arg-type]
    part = gpu.measure(argparse.Namespace(work=tmp_path, rounds=1), sizes, torch.device("cpu"))
    ways = [row[2] for row in part.tables[0].rows]
    assert ways == [gpu.EAGER, gpu.RESIDENT, "eager, fp32", gpu.PLAIN, "best batch, eager"]
    assert all(len(goal.found) == 1 and goal.found[0] >= 0 for goal in part.goals)
    kernels, steps = part.remarks
    assert kernels.startswith("*small*, largest kernels: `aten::") and kernels.count("%") == gpu.LARGEST
    assert "3 steps of autoencoder; not: encoder_frozen (" in steps


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_an_older_section_stays(tmp_path: Path) -> None:
    assert gpu.run(argparse.Namespace(work=tmp_path, rounds=1)) is None


def test_work_of_a_depthwise_convolution_counts_its_own_products() -> None:
    layer, x = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), torch.randn(2, 8, 5, 6, requires_grad=True)
    with Counter(Peaks(1e9, 1e9)) as forward:
        y = layer(x)
    grad = torch.ones_like(y)
    with Counter(Peaks(1e9, 1e9)) as backward:
        y.backward(grad)
    products = 2 * (2 * 8 * 5 * 6) * 9
    assert forward.flops == products and backward.flops == 2 * products
    assert forward.bytes == 4 * (x.numel() + y.numel() + layer.weight.numel())
    assert forward.roofline_s == pytest.approx(max(products, forward.bytes) / 1e9)


def test_views_and_reserved_memory_cost_nothing_and_matmuls_their_products() -> None:
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    with Counter(Peaks(1.0, 1.0)) as views:
        a.t().view(4, 3).detach()
        torch.empty(7)
    assert views.bytes == 0
    with Counter(Peaks(1.0, 1.0)) as matmul:
        a @ b
    assert matmul.flops == 2 * 3 * 4 * 5 and matmul.bytes == 4 * (12 + 20 + 15)


def test_peaks_are_positive() -> None:
    found = measure_peaks(torch.device("cpu"), torch.float32, 32)
    assert found.flops > 0 and found.bytes > 0
