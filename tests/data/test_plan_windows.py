"""Windows of the plan: a few whole shards at a time, for sets larger than a node's cache."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from asd.data.cache.advice import window_advice
from asd.data.cache.cached_set import GIB
from asd.data.loader import Loader, training_requests
from asd.data.manifest import Manifest, load_manifest
from asd.data.plan import Plan, Stream, Windows, make_plan, windows_of
from tests.support.patience import wait_for
from tests.support.site import Site, serve

SHARDS, CLIPS, WINDOW = 40, 50, 400  # shards, clips of each, clips of a window: eight shards
SHARD_OF = np.repeat(np.arange(SHARDS), CLIPS)
ALL = np.arange(SHARDS * CLIPS)


def windowed(*streams: Stream, window: int = WINDOW, run_length: int = 8) -> Plan:
    return make_plan(streams or [Stream("all", ALL, 16)], 5, run_length, Windows(SHARD_OF, window))


def shards_of(clips: np.ndarray) -> set[int]:
    return set(SHARD_OF[clips.ravel()].tolist())


# The order


@pytest.mark.parametrize("run_length", [1, 3, 8])
@pytest.mark.parametrize("window", [1, 50, 130, 400, 1999, 2000, 10**9])
def test_every_clip_once_an_epoch(window, run_length):
    plan = windowed(window=window, run_length=run_length)
    for epoch in range(3):
        steps = plan.epoch(epoch)["all"]
        assert steps.shape == (125, 16)
        assert sorted(steps.ravel()) == ALL.tolist()


def test_a_shard_is_read_in_one_stretch_and_few_at_a_time():
    steps = windowed().epoch(2)["all"]
    read = np.array([[shard in shards_of(step) for shard in range(SHARDS)] for step in steps])
    first, last = read.argmax(0), len(steps) - 1 - read[::-1].argmax(0)
    assert (last - first).max() < WINDOW / 16 + 1
    at_once = [int(((first <= step) & (step <= last)).sum()) for step in range(len(steps))]
    assert max(at_once) <= 16  # in the one step in which a window follows another
    assert np.median(at_once) <= 8


def test_a_batch_mixes_all_shards_of_its_window():
    steps = windowed(run_length=1).epoch(0)["all"]
    by_window = steps.reshape(5, 25, 16)
    assert [len(shards_of(window)) for window in by_window] == [8] * 5
    mixed = [len(shards_of(step)) for step in steps]
    assert np.mean(mixed) == pytest.approx(8 * (1 - (7 / 8) ** 16), abs=0.3)  # as drawn at random


def test_other_shards_come_together_in_every_epoch():
    plan = windowed()
    together = [frozenset(shards_of(plan.epoch(epoch)["all"][:25])) for epoch in range(6)]
    assert len(set(together)) == 6
    assert max(len(one & other) for one in together for other in together if one != other) <= 5


def test_runs_end_with_their_shard_and_their_cuts_move():
    runs = []
    for epoch in range(8):
        order = windowed(Stream("all", ALL, 1)).epoch(epoch)["all"].ravel()
        ends = np.flatnonzero((np.diff(order) != 1) | (np.diff(SHARD_OF[order]) != 0)) + 1
        runs.append({tuple(run) for run in np.split(order, ends) if len(run) == 8})
    assert all(len(shards_of(np.array(run))) == 1 for own in runs for run in own)
    assert len(set.union(*runs)) > 3 * max(map(len, runs))


def test_windows_are_of_equal_size():
    """Not a full one and a rest of one shard, whose clips would only meet each other."""
    sizes = []
    for epoch in range(5):
        window = Windows(SHARD_OF, 420).of(np.ones(len(ALL), dtype=bool), 0, epoch)
        sizes += np.bincount(window).tolist()
    assert set(sizes) == {400}


def test_epochs_and_seeds_differ_and_repeat_exactly():
    plans = [replace(windowed(), seed=seed) for seed in (5, 6)]
    found = {plan.epoch(epoch)["all"].tobytes() for plan in plans for epoch in range(4)}
    assert len(found) == 8
    assert windowed().epoch(3)["all"].tobytes() in found


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_same_batches_from_any_step_on(small_manifest, world_size):
    plan = make_plan([Stream("all", small_manifest.select("train"), 16)], 5, 4, windows_of(small_manifest, 30))
    ranks = [
        list(islice(training_requests(small_manifest, plan, 8000, 0, 2, rank, world_size), 7))
        for rank in range(world_size)
    ]
    expected = np.concatenate([plan.epoch(0)["all"][2:], plan.epoch(1)["all"]])[:7]
    for at in range(7):
        assert np.concatenate([rank[at].clips for rank in ranks]).tolist() == expected[at].tolist()


# Further streams


OWN, FEW = ALL[ALL % 10 != 0], ALL[ALL % 10 == 0]  # every tenth clip is of the other stream


def beside(draw: str, few: np.ndarray = FEW, classes: int = 3) -> tuple[dict[str, np.ndarray], Plan]:
    """An epoch of two streams; a clip's class is its number modulo `classes`."""
    rows = {"shuffle": 4, "same_class": 12, "one_class": 0}[draw]
    plan = windowed(Stream("own", OWN, 12, OWN % classes), Stream("few", few, rows, few % classes, draw))
    return plan.epoch(1), plan


def window_of_step(plan: Plan, epoch: int, step: int) -> set[int]:
    """The shards of the window in which a step begins; windows of 360 own clips each."""
    own = make_plan(plan.streams[:1], plan.seed, 1, plan.windows)
    used = np.ones(len(ALL), dtype=bool)
    window = Windows(SHARD_OF, WINDOW).of(used, own.seed, epoch)
    return shards_of(ALL[window == step * 12 // 360])


@pytest.mark.parametrize("draw", ["shuffle", "same_class"])
def test_further_streams_draw_from_the_window_of_their_step(draw):
    steps, plan = beside(draw)
    assert sorted(steps["own"].ravel()) == OWN.tolist()
    assert len(steps["few"]) == plan.steps_per_epoch == 150
    for step, rows in enumerate(steps["few"]):
        assert shards_of(rows) <= window_of_step(plan, 1, step)
    if draw == "same_class":
        assert (steps["own"] % 3 == steps["few"] % 3).all()
    seen = np.unique(steps["few"], return_counts=True)[1]
    assert len(seen) > 0.9 * len(FEW)
    if draw == "shuffle":  # 600 rows of 200 clips: nobody waits a round longer than others
        assert set(seen.tolist()) <= {2, 3, 4}


def test_a_class_that_the_window_lacks_comes_from_elsewhere():
    few = [*FEW[FEW % 3 != 1].tolist(), 70]  # one clip of class 1, in one shard
    steps, _ = beside("same_class", np.array(sorted(few)))
    assert (steps["own"] % 3 == steps["few"] % 3).all()
    assert set(steps["few"][steps["own"] % 3 == 1].tolist()) == {70}


def test_a_window_without_any_clip_of_a_stream_takes_all_of_it():
    steps, _ = beside("shuffle", FEW[:5])  # all in the first shard
    assert set(steps["few"].ravel().tolist()) == set(FEW[:5].tolist())


def test_one_class_takes_the_place_of_rows_of_that_class():
    steps, plan = beside("one_class")
    assert list(steps) == ["own"]
    plain = make_plan(plan.streams[:1], plan.seed, plan.run_length, plan.windows).epoch(1)["own"]
    classes = set()
    for step, (drawn, former) in enumerate(zip(steps["own"], plain, strict=True)):
        replaced = drawn != former
        kinds = set((former[replaced] % 3).tolist())
        assert len(kinds) <= 1
        assert (replaced == np.isin(former % 3, list(kinds))).all()
        assert shards_of(drawn) <= window_of_step(plan, 1, step) | window_of_step(plan, 1, min(step + 1, 149))
        classes |= kinds
    assert classes == {0, 1, 2}


# A cache that is smaller than the set


@pytest.fixture(scope="module")
def served(many_shards: Path) -> Iterator[Site]:
    site = Site(many_shards)
    with serve(site):
        yield site


def plan_of(manifest: Manifest, window: int | None) -> Plan:
    return make_plan([Stream("all", manifest.select("train"), 16)], 3, 8, windows_of(manifest, window))


def training_tars(manifest: Manifest) -> list[str]:
    return [shard.file for shard in manifest.file.shards if shard.file.startswith("train")]


def read_epochs(manifest: Manifest, plan: Plan, epochs: int) -> None:
    """What one rank's training reads."""
    loader = Loader(manifest, torch.device("cpu"), threads=1, prefetch=2)
    requests = training_requests(manifest, plan, 4000, 0, 0, 0, 1)
    for batch in islice(loader.stream(requests), epochs * plan.steps_per_epoch):
        assert batch.valid.all()
    loader.close()


@pytest.mark.usefixtures("quick")
def test_an_epoch_fetches_a_set_once_with_a_cache_of_four_tenths_of_it(served, many_shards, opened):
    local = load_manifest(many_shards)
    tars = training_tars(local)
    gib = 0.4 * sum(shard.bytes for shard in local.file.shards if shard.file in tars) / GIB
    fetched = {}
    for window in (None, "advised"):
        served.asked.clear()
        manifest = opened(served.url, gib)
        advice = window_advice(manifest, plan_of(manifest, None), gib) or ""
        advised = int(re.findall(r"data.window=(\d+)", advice)[0])
        plan = plan_of(manifest, advised if window else None)
        read_epochs(manifest, plan, 2)
        fetched[window] = sum(served.times(name) for name in tars)
        for left in manifest.root.glob("*.tar"):
            left.unlink()
    once = 2 * len(tars)  # but for what is still here, and with what the third epoch begins with
    assert 0.6 * once <= fetched["advised"] <= 1.5 * once
    assert fetched[None] > 2 * once


@pytest.mark.usefixtures("quick")
def test_the_first_batch_needs_the_tars_of_one_window_alone(served, opened):
    """No other tar ever comes: what is read is there all the same."""
    manifest = opened(served.url)
    plan = plan_of(manifest, 150)
    steps = plan.epoch(0)["all"]
    within = {manifest.file.shards[i].file for i in manifest.column("shard")[steps[:6].ravel()].tolist()}
    others = [name for name in served.tars if name not in within]
    assert len(within) <= 4 < len(others)
    for name in others:
        served.files[name].stall_after = 10
    loader = Loader(manifest, torch.device("cpu"), threads=1, prefetch=2)
    batches = loader.stream(training_requests(manifest, plan, 4000, 0, 0, 0, 1))
    assert all(batch.valid.all() for batch in islice(batches, 3))  # and those that are read ahead
    wait_for(lambda: {path.name for path in manifest.root.glob("*.tar")} == within)
    for name in others:
        served.files[name].stall_after = None
    served.released.set()
    wait_for(lambda: len(list(manifest.root.glob("*.tar"))) == len(served.tars))
    loader.close()


# Advice


def advice(manifest: Manifest, window: int | None, share: float | None) -> str | None:
    gib = None if share is None else share * sum(s.bytes for s in manifest.file.shards if "train" in s.file) / GIB
    return window_advice(manifest, plan_of(manifest, window), gib)


def test_a_cache_that_is_too_small_for_the_plan_is_told(many_shards):
    manifest = replace(load_manifest(many_shards), tars=object())
    assert advice(manifest, None, None) is None
    assert advice(manifest, None, 1.01) is None
    assert advice(replace(manifest, tars=None), None, 0.4) is None  # a folder of this machine
    told = advice(manifest, None, 0.4) or ""
    fitting = int(re.findall(r"data.window=(\d+) downloads each once", told)[0])
    assert advice(manifest, fitting, 0.4) is None
    assert f"data.window={fitting} fits" in (advice(manifest, 3 * fitting, 0.4) or "")
    assert advice(manifest, 3 * fitting, 1.01) is None
