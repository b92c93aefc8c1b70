"""The order of clips in an epoch."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from asd.data.loader import training_requests
from asd.data.plan import (
    Plan,
    Stream,
    crop_starts,
    make_plan,
    rank_slice,
)
from asd.errors import UserError


def plan_of(count: int, batch: int, run_length: int = 8, seed: int = 0) -> Plan:
    return make_plan([Stream("all", np.arange(count), batch)], seed, run_length)


def epoch_of(plan: Plan, epoch: int) -> np.ndarray:
    return plan.epoch(epoch)["all"]


@pytest.mark.parametrize("run_length", [1, 3, 8])
@pytest.mark.parametrize(("count", "batch"), [(203, 16), (64, 64), (65, 64), (5, 4), (1000, 64)])
def test_an_epoch_holds_every_clip_at_most_once(count, batch, run_length):
    plan = plan_of(count, batch, run_length)
    for epoch in range(5):
        steps = epoch_of(plan, epoch)
        assert steps.shape == (count // batch, batch)
        assert len(np.unique(steps)) == steps.size
        assert set(steps.flat) <= set(range(count))


@pytest.mark.parametrize("run_length", [1, 8])
def test_all_clips_are_seen_equally_often_over_many_epochs(run_length):
    count, batch, epochs = 203, 16, 3000  # 12 steps; 11 clips an epoch are left out
    plan = plan_of(count, batch, run_length)
    seen = sum(np.bincount(epoch_of(plan, epoch).ravel(), minlength=count) for epoch in range(epochs))
    share = 192 / 203
    deviations = (seen - epochs * share) / np.sqrt(epochs * share * (1 - share))
    assert abs(deviations).max() < 4.5
    assert seen.sum() == epochs * 192


def test_epochs_and_seeds_differ_and_repeat_exactly():
    plan = plan_of(256, 64)
    orders = [epoch_of(plan, epoch).tobytes() for epoch in range(20)]
    orders += [epoch_of(plan_of(256, 64, seed=seed), 0).tobytes() for seed in range(1, 20)]
    assert len(set(orders)) == len(orders)
    assert epoch_of(plan_of(256, 64), 7).tobytes() == orders[7]


def test_batches_mix_other_clips_in_every_epoch():
    plan = plan_of(1024, 64)
    mates = [{frozenset(row) for row in epoch_of(plan, epoch).tolist()} for epoch in range(4)]
    assert not set.intersection(*mates)
    overlap = [len(np.intersect1d(epoch_of(plan, 0)[0], row)) for row in epoch_of(plan, 1)]
    assert max(overlap) < 32


def pieces(clips: np.ndarray) -> int:
    """How many stretches of consecutive numbers the clips make."""
    return 1 + int((np.diff(np.sort(clips)) != 1).sum())


def test_a_batch_is_made_of_runs_of_consecutive_clips():
    for epoch in range(3):
        counts = [pieces(step) for step in epoch_of(plan_of(1024, 64, run_length=8), epoch)]
        assert max(counts) <= 8 + 1  # one run may go round the end of the set
        assert sum(counts) > 6 * len(counts)  # and they are scattered
    assert min(pieces(step) for step in epoch_of(plan_of(1024, 64, run_length=1), 0)) > 45


def test_run_boundaries_move_from_epoch_to_epoch():
    plan = plan_of(64, 64)
    together = {
        frozenset(run)
        for e in range(40)
        for run in np.sort(epoch_of(plan, e)[0].reshape(8, 8, order="F"), 1)[:, :2].tolist()
    }
    assert len(together) > 40  # with fixed runs there would be eight


def test_without_runs_an_epoch_is_a_permutation():
    count = 50
    plan = plan_of(count, 1, run_length=1)
    places = np.array([epoch_of(plan, epoch).ravel() for epoch in range(2000)])
    first, last = np.bincount(places[:, 0], minlength=count), np.bincount(places[:, -1], minlength=count)
    assert max(first.max(), last.max()) < 40 + 5 * np.sqrt(40)
    assert min(first.min(), last.min()) > 40 - 5 * np.sqrt(40)
    followers = (places[:, 1:] - places[:, :-1] == 1).mean()
    assert followers == pytest.approx(1 / count, rel=0.1)


@pytest.mark.parametrize(("batch", "run_length"), [(64, 8), (128, 8), (256, 8), (64, 4), (128, 16), (64, 1)])
def test_neighbouring_rows_come_from_different_runs(batch, run_length):
    """Mixup pairs rows within groups of eight: neighbours on the shard must not meet there."""
    plan = plan_of(4096, batch, run_length)
    runs_in_batch = batch // run_length
    for step in epoch_of(plan, 3)[:20]:
        for group in step.reshape(-1, 8):
            assert pieces(group) >= min(8, runs_in_batch) - 2  # two of 512 runs are seldom neighbours


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_same_global_batches(small_manifest, world_size):
    clips = small_manifest.select("train")
    plan = make_plan([Stream("all", clips, 32)], seed=5, run_length=8)
    crop, steps = 12_000, 8
    ranks = [
        list(islice(training_requests(small_manifest, plan, crop, 0, 0, rank, world_size), steps))
        for rank in range(world_size)
    ]
    for at in range(steps):
        epoch, step = divmod(at, 3)
        parts = [rank[at] for rank in ranks]
        assert {(p.epoch, p.step, p.length) for p in parts} == {(epoch, step, crop)}
        assert [p.first_row for p in parts] == [32 // world_size * rank for rank in range(world_size)]
        together = np.concatenate([p.clips for p in parts])
        assert together.tolist() == plan.epoch(epoch)["all"][step].tolist()
        expected = crop_starts(5, epoch, together, np.full(32, 16_000), crop)
        assert np.concatenate([p.starts for p in parts]).tolist() == expected.tolist()


def test_rank_slices_tile_the_batch():
    rows = np.arange(24)
    for world_size in (1, 2, 3, 4):
        parts = [rank_slice(rows, rank, world_size) for rank in range(world_size)]
        assert np.concatenate(parts).tolist() == rows.tolist()
        assert {len(p) for p in parts} == {24 // world_size}


def test_the_first_stream_sets_the_steps_and_others_go_round():
    others = np.arange(1000, 1037)
    plan = make_plan([Stream("source", np.arange(100), 10), Stream("target", others, 6)], seed=1, run_length=4)
    assert plan.steps_per_epoch == 10
    seen = dict.fromkeys(others.tolist(), 0)
    for epoch in range(20):
        steps = plan.epoch(epoch)
        assert list(steps) == ["source", "target"]
        assert steps["source"].shape == (10, 10)
        assert steps["target"].shape == (10, 6)
        assert sorted(steps["source"].flat) == list(range(100))
        for batch in steps["target"]:
            for clip in batch.tolist():
                seen[clip] += 1
            # rounds go on over the ends of epochs: nobody is ever two rounds ahead of anybody
            assert max(seen.values()) - min(seen.values()) <= 1
    assert sum(seen.values()) == 20 * 60


def test_streams_of_equal_size_are_shuffled_differently():
    clips = np.arange(64)
    plan = make_plan([Stream("a", clips, 8), Stream("b", clips, 8)], seed=1, run_length=1)
    steps = plan.epoch(0)
    assert (steps["a"] != steps["b"]).mean() > 0.8


def test_a_stream_that_cannot_fill_a_batch_is_refused():
    with pytest.raises(UserError, match="63 training clips cannot fill the 64 rows of a global batch"):
        make_plan([Stream("few", np.arange(63), 64), Stream("all", np.arange(100), 64)], 0, 8)
    make_plan([Stream("few", np.arange(64), 64)], 0, 8)


def classed(draw: str, seed: int = 1, batch: int = 12) -> Plan:
    """40 clips of each of three classes; beside them few clips of these, and of a fourth one, in no order."""
    own, few = np.arange(0, 240, 2), np.array([301, 303, 305, 307, 309, 311, 313])
    streams = [
        Stream("own", own, batch, (own // 2) % 3),
        Stream("few", few, batch if draw == "same_class" else 0, np.array([2, 0, 1, 3, 0, 2, 2]), draw),
    ]
    return make_plan(streams, seed, run_length=4)


OWN_CLIPS = {c: {clip for clip in range(0, 240, 2) if (clip // 2) % 3 == c} for c in range(3)}


FEW_CLIPS = {0: {303, 309}, 1: {305}, 2: {301, 311, 313}, 3: {307}}


def test_rows_of_the_same_class_match_the_rows_beside_them():
    plan, alone = classed("same_class"), plan_of(120, 12)
    seen = []
    for epoch in range(30):
        steps = plan.epoch(epoch)
        assert steps["own"].shape == steps["few"].shape == (alone.steps_per_epoch, 12)
        for own, few in zip(steps["own"].flat, steps["few"].flat, strict=True):
            assert any(own in OWN_CLIPS[c] and few in FEW_CLIPS[c] for c in range(3)), (own, few)
        assert sorted(steps["own"].flat) == list(range(0, 240, 2))
        seen.append(steps["few"].ravel())
    counts = dict(zip(*np.unique(np.concatenate(seen), return_counts=True), strict=True))
    for clips in [FEW_CLIPS[c] for c in range(3)]:
        expected = 30 * 40 / len(clips)
        assert all(abs(counts[clip] - expected) < 5 * np.sqrt(expected) for clip in clips)
    assert 307 not in counts  # of a class that no row has


def test_one_class_takes_the_place_of_exactly_the_rows_of_that_class():
    plan = classed("one_class")
    plain = make_plan(plan.streams[:1], plan.seed, plan.run_length)
    chosen = []
    for epoch in range(40):
        steps = plan.epoch(epoch)
        assert list(steps) == ["own"]
        for drawn, former in zip(steps["own"], plain.epoch(epoch)["own"], strict=True):
            replaced = drawn > 300
            assert (drawn[~replaced] == former[~replaced]).all()
            classes = (former // 2) % 3
            kinds = {c for c in range(4) for clip in drawn[replaced] if clip in FEW_CLIPS[c]}
            assert len(kinds) <= 1
            if kinds:
                (kind,) = kinds
                assert (replaced == (classes == kind)).all()
            chosen.append(next(iter(kinds), None))
    counts = {c: chosen.count(c) for c in (0, 1, 2, None)}  # None: the class that no row has, so that all stay
    assert sum(counts.values()) == 400
    assert all(abs(count - 100) < 5 * np.sqrt(400 * 3 / 16) for count in counts.values()), counts


@pytest.mark.parametrize("draw", ["same_class", "one_class"])
def test_draws_by_class_change_with_epoch_and_seed_and_repeat_exactly(draw):
    def drawn(plan: Plan, epoch: int) -> bytes:
        return b"".join(np.where(rows > 300, rows, 0).tobytes() for rows in plan.epoch(epoch).values())

    places = [(seed, epoch) for seed in range(8) for epoch in range(8)]
    found = {drawn(classed(draw, seed), epoch) for seed, epoch in places}
    assert len(found) == len(places)
    assert drawn(classed(draw, 5), 3) == drawn(classed(draw, 5), 3)
