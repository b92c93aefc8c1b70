"""Mixup weights and partners: the same on any number of ranks, inside groups, of the right distribution."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
import torch

from asd.augment.mixup import Mix, MixupConfig, draw_mix, pair_weights, with_other_class


def whole(config: MixupConfig, seed: int = 0, epoch: int = 0, step: int = 0, rows: int = 64) -> Mix:
    return draw_mix(config, seed, epoch, step, 0, rows)


@pytest.mark.parametrize("probability", [0.5, 1.0])
@pytest.mark.parametrize("weight_per", ["group", "batch", "clip"])
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_any_number_of_ranks_mixes_the_same_rows(weight_per, probability, ranks):
    config = MixupConfig(alpha=0.5, weight_per=weight_per, probability=probability)
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


# A weight for each clip, and clips that stay as they are


def test_each_clip_has_a_weight_of_its_own():
    config = MixupConfig(weight_per="clip")
    draws = torch.cat([whole(config, step=s).weight for s in range(500)]).double().numpy()
    assert len(np.unique(draws)) > 0.99 * len(draws)
    expected = np.sort(draws) - np.arange(len(draws)) / len(draws)  # alpha 1 is the uniform distribution
    assert abs(expected).max() < 2 / np.sqrt(len(draws))


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_clips_are_mixed_with_a_probability_each(probability):
    mixes = [whole(MixupConfig(weight_per="clip", probability=probability), step=s) for s in range(500)]
    weight, partner = (torch.cat([getattr(m, name) for m in mixes]) for name in ("weight", "partner"))
    alone = partner == torch.arange(64).repeat(500)
    assert (weight[alone] == 1).all()
    assert (weight[~alone] < 1).all()
    error = 5 * np.sqrt(probability * (1 - probability) / len(alone))
    assert float((~alone).float().mean()) == pytest.approx(probability, abs=error)
    mates = (~alone).view(-1, 2).all(1).float().mean()  # neighbours are drawn apart
    assert float(mates) == pytest.approx(probability**2, abs=0.02)


def test_clips_that_are_mixed_are_mixed_as_without_the_others():
    all_mixed, some = (whole(MixupConfig(weight_per="clip", probability=p), 3, 2, 1) for p in (1.0, 0.5))
    mixed = some.partner != torch.arange(64)
    assert 0 < int(mixed.sum()) < 64
    assert some.weight[mixed].equal(all_mixed.weight[mixed])
    assert some.partner[mixed].equal(all_mixed.partner[mixed])


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.1])
def test_probabilities_that_are_none_are_refused(probability):
    with pytest.raises(pydantic.ValidationError, match="probability"):
        MixupConfig(probability=probability)


# Uniform weights


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.0), (0.0, 0.5), (0.7, 0.7)])
def test_weights_are_uniform_between_the_bounds(low, high):
    config = MixupConfig(uniform=(low, high))
    draws = np.sort(np.concatenate([whole(config, step=s).weight[::8].numpy() for s in range(500)]))
    assert draws[0] >= np.float32(low)
    assert draws[-1] <= np.float32(high)
    if high > low:  # Kolmogorov and Smirnov's distance
        expected = (draws - low) / (high - low)
        assert abs(expected - np.arange(len(draws)) / len(draws)).max() < 2 / np.sqrt(len(draws))


@pytest.mark.parametrize("weight_per", ["group", "batch"])
@pytest.mark.parametrize("ranks", [2, 8])
def test_uniform_weights_are_the_same_on_any_number_of_ranks(weight_per, ranks):
    config = MixupConfig(uniform=(0.5, 1.0), weight_per=weight_per)
    share = 64 // ranks
    for step in range(5):
        parts = [draw_mix(config, 3, 2, step, rank * share, share).weight for rank in range(ranks)]
        assert torch.cat(parts).equal(whole(config, 3, 2, step).weight)


@pytest.mark.parametrize("bounds", [(0.6, 0.5), (-0.1, 0.5), (0.5, 1.1)])
def test_bounds_out_of_order_are_refused(bounds):
    with pytest.raises(pydantic.ValidationError, match="two numbers from 0 to 1, the smaller first"):
        MixupConfig(uniform=bounds)


# Partners of another class


def other_class(classes: torch.Tensor, step: int = 0, size: int = 8) -> tuple[Mix, Mix]:
    """(as drawn, with partners of another class)."""
    drawn = whole(MixupConfig(group_size=size, partner="other_class"), step=step, rows=len(classes))
    return drawn, with_other_class(drawn, classes, size)


@pytest.mark.parametrize("classes", [2, 3, 41])
@pytest.mark.parametrize("size", [2, 8])
def test_partners_are_the_first_of_another_class_from_the_drawn_one_on(classes, size):
    for step in range(20):
        own = torch.from_numpy(np.random.default_rng([step, size]).integers(classes, size=64))
        drawn, found = other_class(own, step, size)
        for row in range(64):
            group, at = row - row % size, int(drawn.partner[row])
            tried = [group + (at - group + further) % size for further in range(size)]
            fitting = [other for other in tried if own[other] != own[row]]
            assert int(found.partner[row]) == (fitting[0] if fitting else row)
            assert float(found.weight[row]) == (float(drawn.weight[row]) if fitting else 1.0)


def test_a_group_of_one_class_stays_unmixed():
    own = torch.cat([torch.full((8,), 3), torch.arange(8), torch.full((8,), 1)])
    _, found = other_class(own)
    signal = torch.randn(24, 50, generator=torch.Generator().manual_seed(0))
    mixed = found.apply(signal)
    assert mixed[:8].equal(signal[:8])
    assert mixed[16:].equal(signal[16:])
    assert (mixed[8:16] != signal[8:16]).any(1).all()


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_partners_of_another_class_are_the_same_on_any_number_of_ranks(ranks):
    config = MixupConfig(uniform=(0.5, 1.0), partner="other_class")
    own = torch.from_numpy(np.random.default_rng(0).integers(3, size=64))
    share = 64 // ranks
    reference = with_other_class(whole(config, 3, 2, 1), own, 8)
    for rank in range(ranks):
        rows = slice(rank * share, (rank + 1) * share)
        part = with_other_class(draw_mix(config, 3, 2, 1, rank * share, share), own[rows], 8)
        assert part.weight.equal(reference.weight[rows])
        assert (part.partner + rank * share).equal(reference.partner[rows])


# Weights of pairs


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_pairs_have_the_same_weights_on_any_number_of_ranks(ranks):
    share = 32 // ranks
    parts = [pair_weights(0.5, 3, 2, 1, rank * share, share) for rank in range(ranks)]
    assert torch.cat(parts).equal(pair_weights(0.5, 3, 2, 1, 0, 32))
    assert torch.cat(parts).dtype == torch.float32


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_weights_of_pairs_are_beta_distributed(alpha):
    draws = torch.cat([pair_weights(alpha, 0, 0, step, 0, 32) for step in range(500)]).double().numpy()
    variance = 1 / (4 * (2 * alpha + 1))
    assert ((draws >= 0) & (draws <= 1)).all()
    assert draws.mean() == pytest.approx(0.5, abs=5 * np.sqrt(variance / len(draws)))
    assert draws.var() == pytest.approx(variance, rel=0.05)
    quantiles = {0.5: (np.sin(np.pi / 8) ** 2, np.sin(3 * np.pi / 8) ** 2), 1.0: (0.25, 0.75)}.get(alpha)
    if quantiles is not None:  # the arcsine law and the uniform one have a closed form
        assert np.quantile(draws, [0.25, 0.75]) == pytest.approx(quantiles, abs=0.02)


def test_weights_of_pairs_change_with_seed_epoch_and_step():
    places = [(s, e, t) for s in range(4) for e in range(4) for t in range(4)]
    assert len({tuple(pair_weights(0.5, *place, 0, 8).tolist()) for place in places}) == len(places)
