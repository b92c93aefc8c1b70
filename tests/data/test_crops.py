"""Where crops lie, and the batches of an evaluation."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from asd.data.loader import training_requests
from asd.data.plan import (
    Stream,
    _splitmix64,
    crop_starts,
    equal_length_batches,
    make_plan,
    uniform,
)


def test_splitmix64_gives_its_published_sequence():
    golden, expected = 0x9E3779B97F4A7C15, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    states = np.array([(i * golden) % 2**64 for i in range(3)], dtype=np.uint64)
    assert _splitmix64(states).tolist() == expected


def test_crops_lie_inside_the_clip_and_reach_both_ends():
    frames = np.resize([10, 11, 13, 5], 40_000)
    starts = crop_starts(0, 0, np.arange(40_000), frames, 10)
    assert set(starts[frames <= 10]) == {0}
    assert set(starts[frames == 11]) == {0, 1}
    assert set(starts[frames == 13]) == {0, 1, 2, 3}
    assert abs(np.bincount(starts[frames == 13]) - 2500).max() < 5 * np.sqrt(2500)


def test_crops_are_uniform_and_independent_of_each_other():
    values = np.array([uniform(1, epoch, np.arange(4000)) for epoch in range(10)])
    flat = np.sort(values.ravel())
    distance = abs(flat - np.arange(len(flat)) / len(flat)).max()  # Kolmogorov-Smirnov
    assert distance < 1.63 / np.sqrt(len(flat))
    assert flat[0] >= 0
    assert flat[-1] < 1
    correlations = [
        np.corrcoef(values[0], values[1])[0, 1],
        np.corrcoef(values[0, 1:], values[0, :-1])[0, 1],
        np.corrcoef(values[0], uniform(2, 0, np.arange(4000)))[0, 1],
    ]
    assert max(map(abs, correlations)) < 4 / np.sqrt(4000)


def test_a_crop_is_a_function_of_seed_epoch_and_clip():
    clips, frames = np.arange(100, 200), np.full(100, 50_000)
    starts = crop_starts(7, 3, clips, frames, 16_000)
    order = np.random.default_rng(0).permutation(100)[:40]
    assert crop_starts(7, 3, clips[order], frames[order], 16_000).tolist() == starts[order].tolist()
    for seed, epoch in ((7, 4), (8, 3), (3, 7)):
        assert (crop_starts(seed, epoch, clips, frames, 16_000) != starts).mean() > 0.9


@pytest.mark.parametrize("first", [8_000, 9_000])
def test_crops_may_lie_in_the_beginning_of_clips_alone(small_manifest, first):
    plan = make_plan([Stream("all", small_manifest.select("train"), 8)], seed=3, run_length=1)
    requests = islice(training_requests(small_manifest, plan, 8_000, 0, 0, 0, 1, first), 6)
    starts = np.concatenate([request.starts for request in requests])
    assert starts.max() <= first - 8_000
    assert (first == 8_000) == (starts == 0).all()


def test_evaluation_batches_hold_one_length_each():
    frames = np.random.default_rng(0).choice([8_000, 16_000, 16_001, 100_000], size=200)
    batches = equal_length_batches(frames, samples=48_000)
    assert sorted(np.concatenate(batches)) == list(range(200))
    for batch in batches:
        assert len(set(frames[batch])) == 1
        assert len(batch) == 1 or len(batch) * frames[batch[0]] <= 48_000
    limits = {8_000: 6, 16_000: 3, 16_001: 2, 100_000: 1}
    needed = sum(-(-int((frames == length).sum()) // limit) for length, limit in limits.items())
    assert len(batches) == needed


def test_evaluation_goes_through_the_shards_once():
    """Not once for each length of clips."""
    frames = np.resize([160_000, 176_000, 160_000, 160_000], 4000)
    batches = equal_length_batches(frames, samples=32 * 160_000)
    shards = [set((batch // 400).tolist()) for batch in batches]
    begins, ends = ([pick(own) for own in shards] for pick in (min, max))
    assert begins == sorted(begins)
    assert max(ends[at] - begins[at + 1] for at in range(len(batches) - 1)) <= 1


def test_no_clips_make_no_evaluation_batches():
    assert [len(b) for b in equal_length_batches(np.array([], dtype=np.int64), 1000)] == []
