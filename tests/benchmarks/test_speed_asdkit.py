"""The part `asdkit`, with a stand-in for the checkout: our own network under the names of theirs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asd.errors import UserError
from benchmarks.speed import asdkit

NETWORK = """
from torch import nn

from asd.backbones import MultiBranchConfig, build_backbone


class MultiResNet(nn.Module):
    def __init__(self, sec, sr, use_fft, stft_cfg_list, fft_network_cfg, stft_network_cfg):
        super().__init__()
        n_fft = tuple(stft["n_fft"] for stft in stft_cfg_list)
        self.network = build_backbone(MultiBranchConfig(n_fft=n_fft, fft_samples=sr * sec), 1, 1)
        self.embed_size = self.network.embedding_dim

    def forward(self, wave):
        return {factor} * self.network(wave[:, None, None])
"""
LOSS = """
import torch
from torch import nn

from asd.losses import SubClusterAdaCosConfig, build_loss


class SCAdaCos(nn.Module):
    def __init__(self, size, classes, sub_clusters, trainable, dynamic):
        super().__init__()
        self.own = build_loss(SubClusterAdaCosConfig(sub_clusters=sub_clusters), size, classes)

    @property
    def W(self):
        return self.own.centres.T

    def forward(self, embedding, labels):
        return -(labels * self.own.logits(embedding).log_softmax(1)).sum(1).mean()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A folder with modules of those names, and nothing of them left behind."""
    known, path = set(sys.modules), list(sys.path)
    place = tmp_path / "asdkit" / "models" / "multiresnet"
    place.mkdir(parents=True)
    (place / "multiresnet.py").write_text(NETWORK.format(factor=1))
    (tmp_path / "asdkit" / "losses").mkdir()
    (tmp_path / "asdkit" / "losses" / "scadacos.py").write_text(LOSS)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in ("asdkit", "hydra", "peft"):
            del sys.modules[name]


def run(folder: Path | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asdkit, "BRANCHES", {"one STFT": (1024,)})
    monkeypatch.setattr(asdkit, "SECONDS", 5)
    monkeypatch.setattr(asdkit, "CLIPS", 4)
    return asdkit.run(argparse.Namespace(asdkit=folder, rounds=1))


def test_both_sides_have_their_turn_with_the_same_weights(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = run(checkout, monkeypatch)
    assert [row[0] for row in part.tables[0].rows] == ["one STFT, training step", "one STFT, embedding"]
    assert [len(goal.found) for goal in part.goals] == [1, 1]
    assert all(ratio > 0 for goal in part.goals for ratio in goal.found)


def test_another_network_is_no_contender(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = checkout / "asdkit" / "models" / "multiresnet" / "multiresnet.py"
    network.write_text(NETWORK.format(factor=1.01))
    with pytest.raises(UserError, match=r"differ by .* with the same weights: is it commit ed27d82f"):
        run(checkout, monkeypatch)


def test_without_a_checkout_it_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    assert run(None, monkeypatch) is None
    assert "asdkit: skipped, --asdkit names a checkout" in capsys.readouterr().out
    with pytest.raises(UserError, match="it holds no asdkit/models/multiresnet"):
        run(tmp_path, monkeypatch)
