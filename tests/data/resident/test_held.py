"""A set in memory gives the batches that its tars give, to the bit."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asd.data.loader import BatchSource, Loader, Request, training_requests
from asd.data.manifest import Manifest, load_manifest
from asd.data.plan import Stream, make_plan
from asd.data.resident import shared
from asd.data.resident.held import Held, Layout
from asd.data.resident.loading import load
from asd.data.resident.on_device import DeviceLoader
from asd.data.resident.reader import MemoryReader, memory_loader
from asd.errors import UserError
from tests.support.tars import open_files, row_of, sounds_of

CPU = torch.device("cpu")


def held_in_parts(manifest: Manifest, clips: np.ndarray, parts: int = 1) -> Held:
    layout, problems = Layout.of(manifest, clips), {}
    memory = np.full(layout.samples, 77, dtype=np.int16)
    loaded = 0
    for part in range(parts):
        for size, bad in load(manifest, layout, memory, threads=2, part=part, parts=parts):
            loaded += size
            problems |= bad
    assert loaded == layout.bytes == 2 * manifest.frames[np.unique(clips)].sum()
    return Held(layout, torch.from_numpy(memory), problems)


def batches(source: BatchSource, requests: Iterator[Request], count: int) -> list[dict[str, object]]:
    """Copies: the buffers are used again."""
    found = []
    for batch in islice(source.stream(requests), count):
        found.append({k: v.clone().tolist() if isinstance(v, torch.Tensor) else v for k, v in vars(batch).items()})
    source.close()
    return found


@pytest.mark.parametrize("name", ["small_set", "flac_set", "uneven_set"])
@pytest.mark.parametrize("parts", [1, 3])
def test_every_clip_lies_where_the_layout_says(name: str, parts: int, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(name)
    manifest, sounds, descriptors = load_manifest(folder), sounds_of(folder), open_files()
    held = held_in_parts(manifest, manifest.select("train"), parts)
    for clip in manifest.select("train"):
        first = held.layout.first[clip]
        kept = held.samples[first : first + manifest.frames[clip]].numpy()
        np.testing.assert_array_equal(kept, sounds[manifest.strings("key", np.array([clip]))[0]])
    assert not held.problems
    assert open_files() == descriptors
    with pytest.raises(ValueError, match="is not in memory"):
        held.first(manifest.select("test")[:1])


@pytest.mark.parametrize("name", ["small_set", "fault_set", "uneven_set"])
def test_batches_are_those_of_the_tars(name: str, request: pytest.FixtureRequest) -> None:
    """Crops longer than the shortest clips: these are repeated."""
    manifest = load_manifest(request.getfixturevalue(name))
    clips, crop = manifest.select("train"), int(manifest.frames.min()) + 500
    plan = make_plan([Stream("all", clips, 16)], seed=3, run_length=4)
    held = held_in_parts(manifest, clips)
    sources: list[BatchSource] = [
        Loader(manifest, CPU, threads=2, prefetch=3),
        memory_loader(manifest, held, CPU, threads=2),
        DeviceLoader(manifest, held),
    ]
    count = 2 * plan.steps_per_epoch
    tars, host, device = (
        batches(source, training_requests(manifest, plan, crop, 0, 1, 0, 1), count) for source in sources
    )
    assert len(tars) == count and tars == host == device
    assert [source.given for source in sources] == [count] * 3
    assert any(frames < crop for batch in tars for frames in batch["frames"])  # type: ignore[attr-defined]


def test_a_clip_that_could_not_be_loaded_is_silence_and_told_when_it_comes(small_manifest: Manifest) -> None:
    clips = small_manifest.select("train")[:6]
    held = replace(held_in_parts(small_manifest, clips), problems={int(clips[4]): "its server is gone"})
    for source in (
        Loader(small_manifest, CPU, threads=1, prefetch=1, reader=MemoryReader(small_manifest, held)),
        DeviceLoader(small_manifest, held),
    ):
        stream = source.stream(iter([Request(clips[:4], np.zeros(4, np.int64), 100)] * 3 + [
            Request(clips[2:], np.zeros(4, np.int64), 100)]))  # fmt: skip
        assert next(stream).valid.all() and not source.bad
        *_, last = stream
        assert last.valid.tolist() == [True, True, False, True]
        assert dict(source.bad) == {int(clips[4]): "its server is gone"}
        source.close()


def test_what_a_server_does_not_give_is_silence(small_manifest: Manifest) -> None:
    def opened(shard: int) -> int:
        if shard == 1:
            raise OSError("the server is gone")
        return os.open(small_manifest.root / small_manifest.file.shards[shard].file, os.O_RDONLY)

    tars = SimpleNamespace(keep_open=False, open=opened, expect=lambda clips: None, close=lambda: None)
    manifest = replace(small_manifest, tars=tars)
    held = held_in_parts(manifest, manifest.select("train"))
    lost = [clip for clip in manifest.select("train").tolist() if manifest.column("shard")[clip] == 1]
    assert lost and held.problems == dict.fromkeys(lost, "the server is gone")
    for clip in lost:
        assert not held.samples[held.layout.first[clip] :][: manifest.frames[clip]].any()


def test_a_tar_that_is_not_the_packed_one_is_refused(small_set: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shutil.copytree(small_set, shards)
    manifest = load_manifest(shards)
    tar = shards / manifest.file.shards[1].file
    content = bytearray(tar.read_bytes())
    content[len(content) // 2] ^= 1
    tar.write_bytes(content)
    with pytest.raises(UserError, match=rf"{tar.name} is not what was packed \(its sha256 differs\): copy or pack"):
        held_in_parts(manifest, manifest.select("train"))
    tar.unlink()
    with pytest.raises(UserError, match=rf"{tar.name}: No such file or directory: copy or pack"):
        held_in_parts(manifest, manifest.select("train"))


def _write(path: str) -> None:
    shared.mapped(path, 20)[3:] = 5


def test_processes_share_memory_that_ends_with_them() -> None:
    path = shared.create(20)
    memory = shared.mapped(path, 20)
    other = multiprocessing.get_context("spawn").Process(target=_write, args=(path,))
    other.start()
    other.join()
    assert other.exitcode == 0
    shared.close(path)
    assert memory.tolist() == [0] * 3 + [5] * 7
    with pytest.raises(UserError, match=r"cannot see the shared memory .*: run all ranks of a node in one container"):
        shared.mapped(path, 20)


def test_clips_are_cut_where_they_begin(uneven_set: Path) -> None:
    manifest, sounds = load_manifest(uneven_set), sounds_of(uneven_set)
    clips = manifest.select("test")
    held = held_in_parts(manifest, clips)
    rows = np.empty((len(clips), 3000), dtype=np.int16)
    starts = np.minimum(manifest.frames[clips] - 1, np.arange(len(clips)) * 900)
    frames, valid = MemoryReader(manifest, held).read(clips, starts, rows)
    assert valid.all() and (frames == np.minimum(3000, manifest.frames[clips] - starts)).all()
    for row, key, start in zip(rows, manifest.strings("key", clips), starts, strict=True):
        np.testing.assert_array_equal(row, row_of(sounds[key], int(start), 3000))
