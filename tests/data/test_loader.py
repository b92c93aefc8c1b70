"""Batches in order, resumable anywhere, in buffers that nobody overwrites too early; nothing left behind."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from asd.data.batch import Batch, to_float
from asd.data.config import crop_advice
from asd.data.loader import Loader, Request, training_requests, whole_clip_requests
from asd.data.manifest import Manifest, load_manifest
from asd.data.plan import Stream, equal_length_batches, make_plan, rank_slice
from asd.files import remote
from asd.process.stop import StopSignal
from tests.support.patience import PATIENCE_S
from tests.support.tars import open_files, row_of, sounds_of

CPU = torch.device("cpu")
CROP = 6_000


@pytest.fixture
def loader(small_manifest: Manifest) -> Iterator[Loader]:
    descriptors = open_files()
    loader = Loader(small_manifest, CPU, threads=2, prefetch=3)
    yield loader
    loader.close()
    assert [t.name for t in threading.enumerate() if t.name.startswith("reader")] == []
    assert open_files() == descriptors


@pytest.fixture(scope="module")
def sounds(small_set: Path) -> dict[str, np.ndarray]:
    return sounds_of(small_set)


def requests(manifest: Manifest, epoch: int = 0, step: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[Request]:
    plan = make_plan([Stream("all", manifest.select("train"), 16)], seed=3, run_length=4)
    return training_requests(manifest, plan, CROP, epoch, step, rank, ranks)


def truth(manifest: Manifest, sounds: dict[str, np.ndarray], request: Request) -> np.ndarray:
    keys = manifest.strings("key", request.clips)
    rows = [row_of(sounds[key], start, request.length) for key, start in zip(keys, request.starts, strict=True)]
    return np.stack(rows)


def copy_of(batch: Batch) -> dict[str, object]:
    return {k: v.clone().tolist() if isinstance(v, torch.Tensor) else v for k, v in vars(batch).items()}


@pytest.mark.parametrize("rank", [0, 1])
def test_batches_come_in_order_and_hold_the_clips_asked_for(loader, small_manifest, sounds, rank):
    asked = list(islice(requests(small_manifest, rank=rank, ranks=2), 20))
    for at, (batch, request) in enumerate(zip(loader.stream(asked), asked, strict=True)):
        assert (batch.epoch, batch.step) == divmod(at, 6)
        assert batch.first_row == 8 * rank
        assert batch.clip_index.tolist() == request.clips.tolist()
        assert batch.class_index.tolist() == small_manifest.class_index[request.clips].tolist()
        assert batch.domain.tolist() == [0] * 8
        assert batch.frames.tolist() == [CROP] * 8
        assert batch.valid.all()
        assert batch.waveform.dtype == torch.int16
        np.testing.assert_array_equal(batch.waveform.numpy(), truth(small_manifest, sounds, request))


@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (0, 5), (1, 0), (2, 3)])
def test_a_stream_goes_on_from_any_step(loader, small_manifest, epoch, step):
    unbroken = [
        copy_of(b) for b in loader.stream(islice(requests(small_manifest), 6 * epoch + step, 6 * epoch + step + 9))
    ]
    resumed = [copy_of(b) for b in loader.stream(islice(requests(small_manifest, epoch, step), 9))]
    assert resumed == unbroken
    assert (resumed[0]["epoch"], resumed[0]["step"]) == (epoch, step)


@pytest.mark.parametrize(("prefetch", "at_once"), [(1, 0), (4, 0), (1, 1 << 40)])
def test_a_batch_stays_as_it_is_until_the_next_is_asked_for(small_manifest, sounds, prefetch, at_once):
    loader = Loader(small_manifest, CPU, threads=2, prefetch=prefetch, at_once=at_once)
    asked = list(islice(requests(small_manifest), 12))
    for batch, request in zip(loader.stream(asked), asked, strict=True):
        expected = truth(small_manifest, sounds, request)
        for _ in range(3):
            np.testing.assert_array_equal(batch.waveform.numpy(), expected)
            time.sleep(0.01)  # the readers fill every buffer that they may fill
    loader.close()


def test_buffers_are_reused(loader, small_manifest):
    places = {batch.waveform.data_ptr() for batch in loader.stream(islice(requests(small_manifest), 30))}
    assert len(places) <= loader.prefetch + 1


def test_no_more_is_read_ahead_than_there_are_buffers(loader, small_manifest):
    taken = []

    def counted() -> Iterator[Request]:
        for request in requests(small_manifest):
            taken.append(request)
            yield request

    stream = loader.stream(counted())
    assert taken == []
    next(stream)
    assert len(taken) == loader.prefetch + 1
    next(stream)
    assert len(taken) == loader.prefetch + 2
    stream.close()


@pytest.mark.parametrize(("at_once", "batches"), [(0, 1), (3 * 16 * CROP, 3), (1 << 40, 4)])
def test_batches_that_are_read_together_are_the_same(uneven_manifest, monkeypatch, at_once, batches):
    """Those of one form; the last of them are fewer. A whole batch of them stays until the next is asked for."""
    tests = equal_length_batches(uneven_manifest.frames[clips := uneven_manifest.select("test")], 60_000)
    asked = list(islice(requests(uneven_manifest), 6))
    asked += [*whole_clip_requests(uneven_manifest, [clips[batch] for batch in tests]), *asked[:5]]
    alone = Loader(uneven_manifest, CPU, threads=2, prefetch=2)
    wanted = [copy_of(batch) for batch in alone.stream(asked)]
    alone.close()
    together = Loader(uneven_manifest, CPU, threads=2, prefetch=2, at_once=at_once)
    read, rows = together.reader.read, []

    def counted(clips, *others):
        rows.append(len(clips))
        return read(clips, *others)

    monkeypatch.setattr(together.reader, "read", counted)
    found = [copy_of(batch) for batch in together.stream(asked)]
    together.close()
    assert found == wanted
    assert together.given == together.asked == len(asked)
    assert max(rows) == batches * 16
    assert sum(rows) == sum(len(request.clips) for request in asked)


def test_two_streams_at_once_do_not_disturb_each_other(loader, small_manifest, sounds):
    first, second = list(islice(requests(small_manifest), 8)), list(islice(requests(small_manifest, epoch=4), 8))
    for a, b, ask_a, ask_b in zip(loader.stream(first), loader.stream(second), first, second, strict=True):
        np.testing.assert_array_equal(a.waveform.numpy(), truth(small_manifest, sounds, ask_a))
        np.testing.assert_array_equal(b.waveform.numpy(), truth(small_manifest, sounds, ask_b))


def test_a_stream_may_be_left_at_any_time(loader, small_manifest):
    for count in (1, 2, 5):
        for _ in islice(loader.stream(requests(small_manifest)), count):
            pass
    assert len(list(loader.stream(islice(requests(small_manifest), 4)))) == 4


def test_an_error_while_reading_reaches_the_consumer(loader, small_manifest):
    good = next(requests(small_manifest))
    outside = Request(np.array([10**6]), np.zeros(1, dtype=np.int64), CROP)
    stream = loader.stream([good, outside, good])
    next(stream)
    with pytest.raises(IndexError):
        next(stream)


def test_waiting_is_counted_once(loader, small_manifest, monkeypatch):
    read = loader.reader.read
    monkeypatch.setattr(loader.reader, "read", lambda *args: time.sleep(0.05) or read(*args))
    begin = time.perf_counter()
    list(loader.stream(islice(requests(small_manifest), 4)))
    whole = time.perf_counter() - begin
    assert 0 < loader.pop_wait_s() < whole
    assert loader.pop_wait_s() == 0.0


def test_whole_clips_of_uneven_length(uneven_manifest):
    sounds = sounds_of(uneven_manifest.root)
    clips = uneven_manifest.select("test")
    batches = [clips[b] for b in equal_length_batches(uneven_manifest.frames[clips], 40_000)]
    loader = Loader(uneven_manifest, CPU, threads=2, prefetch=2)
    seen = []
    for batch in loader.stream(whole_clip_requests(uneven_manifest, batches)):
        for row, clip in zip(batch.waveform.numpy(), batch.clip_index.tolist(), strict=True):
            key = uneven_manifest.strings("key", np.array([clip]))[0]
            np.testing.assert_array_equal(row, sounds[key])
            seen.append(clip)
    loader.close()
    assert sorted(seen) == clips.tolist()


def test_an_unreadable_clip_is_marked_and_the_others_go_on(small_set, sounds, tmp_path):
    root = Path(shutil.copytree(small_set, tmp_path / "set"))
    manifest = load_manifest(root)
    lost = int(np.flatnonzero(manifest.column("shard") == 0)[-1])
    os.truncate(root / manifest.file.shards[0].file, int(manifest.column("offset")[lost]) + 100)
    loader = Loader(manifest, CPU, threads=2, prefetch=2)
    asked = list(islice(requests(manifest), 6))
    for batch, request in zip(loader.stream(asked), asked, strict=True):
        bad = request.clips == lost
        assert batch.valid.tolist() == (~bad).tolist()
        expected = truth(manifest, sounds, request)
        expected[bad] = 0
        np.testing.assert_array_equal(batch.waveform.numpy(), expected)
    loader.close()
    assert list(loader.reader.bad) == [lost]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_hold_the_clips_asked_for(small_manifest, sounds):
    loader = Loader(small_manifest, torch.device("cuda"), threads=2, prefetch=2)
    asked = list(islice(requests(small_manifest), 40))
    kept = [(batch.waveform.clone(), request) for batch, request in zip(loader.stream(asked), asked, strict=True)]
    loader.close()
    for waveform, request in kept:
        np.testing.assert_array_equal(waveform.cpu().numpy(), truth(small_manifest, sounds, request))


# Batch


def some_batch(rows: int = 12) -> Batch:
    column = torch.arange(rows)
    wave = torch.arange(rows * 5, dtype=torch.int16).view(rows, 5)
    return Batch(wave, column, column + 1, column + 2, column + 3, column % 2 == 0, epoch=2, step=7, first_row=24)


def test_pieces_of_a_batch_keep_their_place_in_the_global_batch():
    batch = some_batch()
    pieces = batch.split(3)
    assert [p.first_row for p in pieces] == [24, 28, 32]
    assert {(p.epoch, p.step) for p in pieces} == {(2, 7)}
    for name in ("waveform", "frames", "clip_index", "class_index", "domain", "valid"):
        assert torch.cat([getattr(p, name) for p in pieces]).equal(getattr(batch, name))


def test_lengths_other_than_the_crop_are_said(uneven_manifest, small_manifest):
    """Clips of 0.5, 0.7, 1 and 1.3 s, 13 each; and clips of 1 s."""
    clips, one = uneven_manifest.select("train"), small_manifest.select("train")
    said = "data.crop_s={} for clips of 0.500 to 1.300 s: "
    short = "{} of 52 training clips are shorter and are repeated to fill it"
    long = "of {} longer ones a part is drawn anew each epoch"
    assert crop_advice(uneven_manifest, clips, 2) == said.format(2) + short.format(52)
    assert crop_advice(uneven_manifest, clips, 1) == said.format(1) + short.format(26) + "; " + long.format(13)
    assert crop_advice(uneven_manifest, clips, 0.5) == said.format(0.5) + long.format(39)
    assert [crop_advice(small_manifest, one, crop_s) for crop_s in (0.5, 1.0)] == [None, None]


def test_samples_become_floats_below_one():
    ends = torch.tensor([[-32768, -1, 0, 1, 32767]], dtype=torch.int16)
    assert to_float(ends).tolist() == [[-1.0, -1 / 32768, 0.0, 1 / 32768, 32767 / 32768]]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("at_once", [0, 1 << 40])
def test_a_stop_does_not_wait_for_a_silent_server(site, opened, monkeypatch, at_once):
    """Batches that do not come are silence, and nobody is left who waits: not even for the server to give up."""
    monkeypatch.setattr(remote, "TIMEOUT_S", 1e6)
    monkeypatch.setattr("asd.data.loader.GRACE_S", 0.01)
    for name in site.tars:
        site.files[name].stall_after = 10
    manifest, stop = opened(), StopSignal()
    plan = make_plan([Stream("all", manifest.select("train"), 16)], seed=3, run_length=4)
    loader = Loader(manifest, torch.device("cpu"), threads=1, prefetch=2, stop=stop, at_once=at_once)
    batches = loader.stream(training_requests(manifest, plan, 8000, 0, 0, 1, 2))
    threading.Timer(0.3, lambda: setattr(stop, "name", "SIGTERM")).start()
    for step, batch in enumerate(islice(batches, 8)):
        assert batch.is_placeholder
        assert batch.waveform.shape == (8, 8000)
        assert batch.clip_index.tolist() == rank_slice(plan.epoch(step // 6)["all"][step % 6], 1, 2).tolist()
        assert not batch.valid.any()
        assert not batch.waveform.any()
    closing = threading.Thread(target=loader.close)
    closing.start()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert not site.released.is_set()
    site.released.set()
    for thread in threading.enumerate():  # it would write into a folder that is gone by then
        if thread.name == "prefetch":
            thread.join(PATIENCE_S)
