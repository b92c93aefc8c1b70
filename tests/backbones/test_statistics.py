"""Statistics of a clip's bands over time, against numpy straight from their definitions."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
import torch
from torch import Tensor

from asd.backbones.statistics import QUANTILES, Statistics, StatisticsConfig
from asd.frontends import LogMelConfig, build_frontend

BANDS, RATE = 6, 16_000
NET = Statistics(StatisticsConfig(), 1, BANDS)


def decibels(frames: int, seed: int = 0, clips: int = 3) -> Tensor:
    return 15 * torch.randn(clips, 1, BANDS, frames, generator=torch.Generator().manual_seed(seed)) - 40


def view(embedding: Tensor, name: str) -> np.ndarray:
    """(B, values, bands)."""
    first, behind, bands = NET.views[name]
    return embedding[:, first:behind].unflatten(1, (-1, bands)).double().numpy()


def twfr(x: np.ndarray, r: float) -> np.ndarray:
    """(M, F) dB → (M,), a frame after the other."""
    total, weight = np.zeros(len(x)), 0.0
    for rank, power in enumerate(-np.sort(-(10 ** (x / 10)), axis=1).T):
        total, weight = total + r**rank * power, weight + r**rank
    return 10 * np.log10(total / weight)


@pytest.mark.parametrize("frames", [1, 2, 31, 320])
def test_they_are_their_definitions(frames: int) -> None:
    x = decibels(frames)
    found = NET(x)
    for clip, own in enumerate(x.squeeze(1).double().numpy()):
        expected = {
            "mean": own.mean(1)[None],
            "mean_std": np.stack([own.mean(1), own.std(1)]),
            "quantiles": np.quantile(own, QUANTILES, axis=1),
            **{f"twfr_{r:g}": twfr(own, r)[None] for r in (1.0, 0.99, 0.95, 0.9, 0.0)},
        }
        assert {*expected, *(f"{name}_level" for name in expected)} == set(NET.views)
        for name, values in expected.items():
            level = np.full_like(values, own.mean())
            if name == "mean_std":
                level[1] = 0  # a spread has no level
            np.testing.assert_allclose(view(found, name)[clip], values, rtol=1e-5, atol=1e-4)
            np.testing.assert_allclose(view(found, f"{name}_level")[clip], values - level, rtol=1e-5, atol=1e-4)


def test_a_gain_is_in_the_raw_ones_alone() -> None:
    x = decibels(50)
    quiet, loud = NET(x), NET(x + 12)
    for name in NET.views:
        alike = np.allclose(view(quiet, name), view(loud, name), atol=1e-3)
        assert alike == name.endswith("_level"), name


def test_views_cover_the_embedding_side_by_side() -> None:
    config = StatisticsConfig(ranks=(0.5,))
    net = Statistics(config, 2, BANDS)
    assert tuple(net.views) == config.view_names()
    spans = list(net.views.values())
    assert [span.first for span in spans] == [0, *(span.behind for span in spans[:-1])]
    assert spans[-1].behind == net.embedding_dim == net(torch.zeros(1, 2, BANDS, 4)).shape[1]
    assert {span.bands for span in spans} == {2 * BANDS}
    assert not list(net.parameters())


@pytest.mark.parametrize("sound", [np.zeros(8000), np.full(8000, 0.25), np.full(1, 0.5)], ids=str)
def test_silence_a_constant_and_a_single_sample_are_finite(sound: np.ndarray) -> None:
    spectrogram = build_frontend(LogMelConfig(n_mels=32), RATE)(torch.from_numpy(sound).float()[None])
    assert Statistics(StatisticsConfig(), 1, 32)(spectrogram).isfinite().all()


def test_of_extreme_levels_too() -> None:
    x = decibels(9)
    x[0], x[1, :, :, 3] = -400.0, 380.0
    assert NET(x).isfinite().all()


@pytest.mark.parametrize("ranks", [(1.2,), (-0.1,), (0.9, 0.9), (0.9, 0.9000001)])
def test_ranks_are_weights_told_apart(ranks: tuple[float, ...]) -> None:
    with pytest.raises(pydantic.ValidationError):
        StatisticsConfig(ranks=ranks)
