"""TASTgram-MFN in paper mode against a small reference written from the table of the publication alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F
from torch import Tensor

from asd.config.load import load_config
from asd.tasks.build import build_task
from asd.tasks.classification import Classification

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "tastgram_noisy_arcmix_paper.yaml"
EPS = 1e-5


@pytest.fixture(scope="module")
def task() -> Classification:
    torch.manual_seed(3)
    c = load_config(CONFIG)
    built = build_task(c, 0, 16_000, 41)
    assert isinstance(built, Classification)
    for module in built.modules():  # statistics and affine values that are not the identity
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return built.eval()


def slaney_bank() -> np.ndarray:
    """(128, 1025) triangles of equal area on Slaney's scale: linear to 1 kHz, then 27 steps a factor of 6.4."""

    def hz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(math.log(6.4) / 27 * (mel - 15)))

    top = 15 + 27 * math.log(8) / math.log(6.4)
    edges = hz(np.linspace(0, top, 130))
    bins = np.linspace(0, 8000, 1025)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]


def reference_mel(x: np.ndarray) -> np.ndarray:
    """(T,) → (128, 313) in dB, by a plain loop over windows."""
    padded, window = np.pad(x, 1024), scipy.signal.get_window("hann", 2048)
    frames = np.stack([padded[at : at + 2048] * window for at in range(0, len(x) + 1, 512)], 1)
    return 10 * np.log10(slaney_bank() @ np.abs(np.fft.rfft(frames, axis=0)) ** 2 + 1e-10)


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """BatchNorm in evaluation over axis 1."""
    shape = [1, -1] + [1] * (x.dim() - 2)
    mean, var, weight, bias = (
        state[f"{name}.{k}"].view(shape) for k in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + EPS).sqrt() * weight + bias


def conv(
    x: Tensor, state: dict[str, Tensor], name: str, stride: int, pad: int, depthwise: bool, linear: bool
) -> Tensor:
    groups = x.shape[1] if depthwise else 1
    x = norm(F.conv2d(x, state[f"{name}.0.weight"], None, stride, pad, 1, groups), state, f"{name}.1")
    return x if linear else torch.where(x > 0, x, x * state[f"{name}.2.weight"].view(1, -1, 1, 1))


def reference_embedding(x: Tensor, mel: Tensor, state: dict[str, Tensor]) -> Tensor:
    """x (1, 160000), mel (1, 128, 313) → (1, 128): the rows of the published table one by one."""
    t = F.conv1d(x[:, None], state["frontend.tgram.filters.weight"], None, 512, 512)
    for layer in range(3):
        name = f"frontend.tgram.layers.{layer}"
        centred = t - t.mean(-1, keepdim=True)
        t = centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
        t = t * state[f"{name}.0.weight"] + state[f"{name}.0.bias"]
        t = F.conv1d(torch.where(t > 0, t, 0.2 * t), state[f"{name}.2.weight"], None, 1, 1)
    attention = torch.sigmoid(mel.max(1, keepdim=True).values + mel.mean(1, keepdim=True))
    maps = torch.stack([t, mel, mel * attention], 1)
    maps = conv(maps, state, "backbone.body.0", 2, 1, False, False)
    maps = conv(maps, state, "backbone.body.1", 1, 1, True, False)
    for block in range(2, 8):  # three stages of two bottlenecks, the first of each halves the map
        stride, name = (2 if block % 2 == 0 else 1), f"backbone.body.{block}.layers"
        inner = conv(maps, state, f"{name}.0", 1, 0, False, False)
        inner = conv(inner, state, f"{name}.1", stride, 1, True, False)
        inner = conv(inner, state, f"{name}.2", 1, 0, False, True)
        maps = inner if stride == 2 else maps + inner
    maps = conv(maps, state, "backbone.body.8", 1, 0, False, False)
    assert maps.shape == (1, 512, 8, 20)
    vector = conv(maps, state, "backbone.over_maps", 1, 0, True, True).flatten(1)
    return norm(vector @ state["backbone.project.weight"].T, state, "backbone.norm")


def test_embedding_and_cosines_equal_the_reference(task: Classification) -> None:
    x = 0.1 * torch.randn(1, 160_000, generator=torch.Generator().manual_seed(1))
    mel = torch.from_numpy(reference_mel(x[0].double().numpy()))[None].float()
    with torch.no_grad():
        features = task.encoder.frontend(x)
        ours = task.encoder.backbone(features)
        theirs = reference_embedding(x, mel, task.encoder.state_dict())
    torch.testing.assert_close(features[:, 1], mel, rtol=0, atol=2e-3)  # dB; float32 against float64
    torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=2e-3)
    centres = F.normalize(task.state_dict()["loss.centres"])
    torch.testing.assert_close(task.loss.logits(ours), 30 * F.normalize(ours) @ centres.T)
