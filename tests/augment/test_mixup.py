"""Mixup weights and partners: the same on any number of ranks, inside groups, of the right distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asd.augment.mixup import Mix, MixupConfig, draw_mix


def whole(config: MixupConfig, seed: int = 0, epoch: int = 0, step: int = 0, rows: int = 64) -> Mix:
    return draw_mix(config, seed, epoch, step, 0, rows)


@pytest.mark.parametrize("weight_per", ["group", "batch"])
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_any_number_of_ranks_mixes_the_same_rows(weight_per, ranks):
    config = MixupConfig(alpha=0.5, weight_per=weight_per)
    for step in range(20):
        share = 64 // ranks
        parts = [draw_mix(config, 3, 2, step, rank * share, share) for rank in range(ranks)]
        reference = whole(config, 3, 2, step)
        assert torch.cat([p.weight for p in parts]).equal(reference.weight)
        assert torch.cat([p.partner + rank * share for rank, p in enumerate(parts)]).equal(reference.partner)


@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_partners_are_others_of_the_same_group(size):
    rows = torch.arange(64)
    for step in range(50):
        partner = whole(MixupConfig(group_size=size), step=step).partner
        assert (partner != rows).all()
        assert (partner // size == rows // size).all()
        assert partner.sort().values.equal(rows)  # everybody is somebody's partner once


def test_every_shift_is_as_likely():
    shifts = np.concatenate(
        [((whole(MixupConfig(), step=s).partner - torch.arange(64)) % 8)[::8].numpy() for s in range(1000)]
    )
    counts = np.bincount(shifts, minlength=8)
    assert counts[0] == 0
    assert abs(counts[1:] - 8000 / 7).max() < 5 * np.sqrt(8000 / 7)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 4.0])
def test_weights_are_beta_distributed(alpha):
    draws = np.concatenate([whole(MixupConfig(alpha=alpha), step=s).weight[::8].numpy() for s in range(2000)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert ((draws >= 0) & (draws <= 1)).all()
    assert draws.mean() == pytest.approx(0.5, abs=5 * np.sqrt(variance / len(draws)))
    assert draws.var() == pytest.approx(variance, rel=0.05)


def test_weights_are_shared_by_group_or_batch():
    by_group = whole(MixupConfig(weight_per="group")).weight.view(8, 8)
    assert (by_group == by_group[:, :1]).all()
    assert len(by_group[:, 0].unique()) == 8
    assert len(whole(MixupConfig(weight_per="batch")).weight.unique()) == 1


def test_seeds_epochs_and_steps_mix_differently_and_repeat_exactly():
    config = MixupConfig()
    places = [(s, e, t) for s in range(4) for e in range(4) for t in range(4)]
    drawn = {tuple(whole(config, *place).weight.tolist()) for place in places}
    assert len(drawn) == len(places)
    again = whole(config, 3, 2, 1)
    assert again.weight.equal(whole(config, 3, 2, 1).weight)
    assert again.partner.equal(whole(config, 3, 2, 1).partner)


def test_apply_is_the_formula():
    mix = whole(MixupConfig(alpha=0.5))
    waveform = torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
    mixed = mix.apply(waveform)
    for row in range(64):
        weight, partner = mix.weight[row].item(), int(mix.partner[row])
        expected = weight * waveform[row].double() + (1 - weight) * waveform[partner].double()
        torch.testing.assert_close(mixed[row].double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("first", "rows"), [(4, 8), (0, 12), (8, 4)])
def test_broken_groups_are_refused(first, rows):
    with pytest.raises(ValueError, match="whole mixing groups of 8"):
        draw_mix(MixupConfig(), 0, 0, 0, first, rows)
