"""Bands that are ignored say nothing, and all others what they said."""

from __future__ import annotations

import math

import pytest
import torch

from asd.errors import UserError
from asd.frontends import FrontendConfig, LogMelConfig, STFTConfig, TASTConfig, WaveformConfig, build_frontend
from asd.frontends.ignored import fill, ignoring

RATE = 16_000
RANGES = torch.tensor([[100.0 * bin, 100.0 * bin + 100.0] for bin in range(6)])


def test_a_hole_is_a_line_between_its_neighbours() -> None:
    spectrum = torch.tensor([0.0, 10.0, 99.0, 99.0, 40.0, 50.0])
    torch.testing.assert_close(fill(RANGES, [(210.0, 380.0)]) @ spectrum, torch.tensor([0, 10, 20, 30, 40, 50.0]))
    torch.testing.assert_close(fill(RANGES, [(0.0, 90.0)]) @ spectrum, torch.tensor([10, 10, 99, 99, 40, 50.0]))
    torch.testing.assert_close(fill(RANGES, [(550.0, 550.0)]) @ spectrum, torch.tensor([0, 10, 99, 99, 40, 40.0]))
    torch.testing.assert_close(fill(RANGES, []) @ spectrum, spectrum)


def test_bands_beyond_all_bins_and_all_bins_are_refused() -> None:
    with pytest.raises(UserError, match=r"ignored band 700-800 Hz: the detector hears 0 to 600 Hz"):
        fill(RANGES, [(700.0, 800.0)])
    with pytest.raises(UserError, match="leave nothing of what the detector hears"):
        fill(RANGES, [(0.0, 300.0), (250.0, 600.0)])


@pytest.mark.parametrize(
    "config", [LogMelConfig(), LogMelConfig(mel_scale="slaney", area_norm=True), STFTConfig(n_fft=1022)]
)
def test_a_tone_in_an_ignored_band_changes_nothing(config: FrontendConfig) -> None:
    frontend = build_frontend(config, RATE)
    noise = 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    tone = 0.05 * torch.sin(2 * math.pi * 2000 * torch.arange(RATE) / RATE)
    with ignoring(torch.nn.Sequential(frontend), [(1800.0, 2200.0)]):
        alone, both = frontend(noise), frontend(noise + tone)
    inner = slice(2, -2)  # at its ends a tone clicks
    assert float((alone - both)[..., inner].abs().max()) < 1.0
    assert float((frontend(noise) - frontend(noise + tone))[..., inner].abs().max()) > 10.0
    changed = (alone - frontend(noise)).abs().amax((0, 1, 3)) > 1e-3
    ranges = frontend.bin_ranges()
    assert ranges is not None
    inside = (ranges[:, 1] >= 1800) & (ranges[:, 0] <= 2200)
    assert torch.equal(changed, inside)


@pytest.mark.parametrize("config", [TASTConfig(), WaveformConfig()])
def test_what_hears_the_waveform_itself_is_refused_by_name(config: FrontendConfig) -> None:
    frontend = build_frontend(config, RATE)
    with pytest.raises(UserError, match=f"frontend {type(frontend).__name__} gives"), ignoring(frontend, [(50, 50)]):
        pass


def test_without_bands_nothing_is_looked_at() -> None:
    with ignoring(torch.nn.Linear(1, 1), []):
        pass
