"""Samples straight from the tars equal what tarfile and soundfile read; damage stays with the damaged clip."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from asd.data.manifest import Manifest, load_manifest
from asd.data.reader import Reader
from asd.errors import UserError
from tests.support.tars import open_files, row_of, sounds_of


@pytest.fixture
def reader(request: pytest.FixtureRequest):
    """A reader of the set that the test's parameter names, and what its tars hold."""
    manifest = request.getfixturevalue(request.param)
    reader = Reader(manifest)
    yield reader
    reader.close()


def expected_rows(manifest: Manifest, clips: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    sounds, keys = sounds_of(manifest.root), manifest.strings("key", clips)
    return np.stack([row_of(sounds[key], start, length) for key, start in zip(keys, starts, strict=True)])


def check(reader: Reader, clips: np.ndarray, starts: np.ndarray, length: int) -> None:
    rows = np.full((len(clips), length), 12345, dtype=np.int16)
    frames, valid = reader.read(clips, starts, rows)
    assert valid.all()
    assert reader.bad == {}
    assert frames.tolist() == np.minimum(reader.manifest.frames[clips] - starts, length).tolist()
    np.testing.assert_array_equal(rows, expected_rows(reader.manifest, clips, starts, length))


SETS = ["small_manifest", "flac_manifest", "uneven_manifest"]


@pytest.mark.parametrize("reader", SETS, indirect=True)
def test_whole_clips_in_shard_order(reader):
    frames = reader.manifest.frames
    for length in np.unique(frames):
        clips = np.flatnonzero(frames == length)
        check(reader, clips, np.zeros(len(clips), dtype=np.int64), int(length))


@pytest.mark.parametrize("reader", SETS, indirect=True)
@pytest.mark.parametrize("length", [1, 999, 8_000, 15_000])
def test_crops_in_any_order(reader, length):
    rng = np.random.default_rng(length)
    clips = rng.permutation(len(reader.manifest))[:90]
    starts = rng.integers(0, np.maximum(reader.manifest.frames[clips] - length, 0) + 1)
    check(reader, clips, starts, length)


@pytest.mark.parametrize("reader", SETS, indirect=True)
@pytest.mark.parametrize("length", [16_001, 40_000])
def test_short_clips_are_repeated(reader, length):
    clips = np.arange(20)
    check(reader, clips, np.zeros(20, dtype=np.int64), length)


@pytest.mark.parametrize("reader", SETS, indirect=True)
def test_a_clip_may_stand_in_a_batch_more_than_once(reader):
    clips = np.array([3, 3, 4, 3, 4, 5])
    check(reader, clips, np.array([0, 10, 0, 10, 2000, 1]), 4_000)


@pytest.mark.parametrize("reader", SETS, indirect=True)
def test_many_threads_read_at_once(reader):
    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        clips = rng.permutation(len(reader.manifest))[:30]
        check(reader, clips, np.zeros(30, dtype=np.int64), 5_000)

    before = set(threading.enumerate())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("reader", ["small_manifest"], indirect=True)
def test_neighbours_are_read_by_one_call(reader, monkeypatch):
    calls = []
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda *args: calls.append(args) or preadv(*args))
    first = np.flatnonzero(reader.manifest.column("shard") == 1)[0]
    order = np.random.default_rng(0).permutation(16)
    check(reader, first + order, np.zeros(16, dtype=np.int64), 16_000)
    assert len(calls) == 1
    check(reader, np.arange(first - 4, first + 4), np.zeros(8, dtype=np.int64), 16_000)
    assert len(calls) == 3  # two tars


@pytest.mark.parametrize("reader", ["small_manifest"], indirect=True)
def test_more_neighbours_than_one_call_may_name(reader, monkeypatch):
    """Linux takes at most 1024 buffers a call."""
    failures = []
    preadv = os.preadv

    def watched(*args):
        try:
            return preadv(*args)
        except OSError as error:
            failures.append(error)
            raise

    monkeypatch.setattr(os, "preadv", watched)
    clip, rows = 40, np.empty((1200, 2), dtype=np.int16)
    starts = np.arange(1200) * 7
    _, valid = reader.read(np.full(1200, clip), starts, rows)
    sound = sounds_of(reader.manifest.root)[reader.manifest.strings("key", np.array([clip]))[0]]
    np.testing.assert_array_equal(rows, sound[starts[:, None] + np.arange(2)])
    assert valid.all()
    assert not failures


# Damage


@dataclass
class Damaged:
    """A set whose second tar lost its end after it was opened, from the middle of clip `lost` on."""

    manifest: Manifest
    lost: int
    sounds: dict[str, np.ndarray]  # what was there before


@pytest.fixture
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> Damaged:
    root = Path(shutil.copytree(request.getfixturevalue(request.param), tmp_path / "set"))
    manifest, sounds = load_manifest(root), sounds_of(root)
    lost = int(np.flatnonzero(manifest.column("shard") == 1)[5])
    middle = int(manifest.column("offset")[lost] + manifest.column("size")[lost] // 2)
    os.truncate(root / manifest.file.shards[1].file, middle)
    return Damaged(manifest, lost, sounds)


@pytest.mark.parametrize("damaged", ["small_set", "flac_set"], indirect=True)
def test_a_cut_tar_costs_only_the_clips_behind_the_cut(damaged):
    reader = Reader(damaged.manifest)
    clips = np.arange(damaged.lost - 4, damaged.lost + 2)[::-1].copy()
    rows = np.full((6, 16_000), 12345, dtype=np.int16)
    _, valid = reader.read(clips, np.zeros(6, dtype=np.int64), rows)
    reader.close()
    assert valid.tolist() == [False, False, True, True, True, True]
    assert set(reader.bad) == {damaged.lost, damaged.lost + 1}
    assert all(reader.bad.values())
    assert not rows[:2].any()
    keys = damaged.manifest.strings("key", clips[2:])
    np.testing.assert_array_equal(rows[2:], np.stack([damaged.sounds[key] for key in keys]))


@pytest.mark.parametrize("damaged", ["small_set"], indirect=True)
def test_a_tar_that_vanished_costs_only_its_own_clips(damaged):
    manifest = damaged.manifest
    (manifest.root / manifest.file.shards[1].file).unlink()
    reader = Reader(manifest)
    first = int(np.flatnonzero(manifest.column("shard") == 1)[0])
    rows = np.full((4, 16_000), 12345, dtype=np.int16)
    _, valid = reader.read(np.array([first, first - 1, first + 1, first - 2]), np.zeros(4, dtype=np.int64), rows)
    reader.close()
    assert valid.tolist() == [False, True, False, True]
    assert not rows[[0, 2]].any()
    assert "No such file" in reader.bad[first]


def test_flac_that_does_not_decode_is_silence(flac_set, tmp_path):
    root = Path(shutil.copytree(flac_set, tmp_path / "set"))
    manifest = load_manifest(root)
    with (root / manifest.file.shards[0].file).open("r+b") as tar:
        tar.seek(int(manifest.column("offset")[2]))
        tar.write(bytes(2000))
    reader = Reader(manifest)
    rows = np.full((4, 16_000), 12345, dtype=np.int16)
    _, valid = reader.read(np.arange(4), np.zeros(4, dtype=np.int64), rows)
    reader.close()
    assert valid.tolist() == [True, True, False, True]
    assert not rows[2].any()
    assert rows[3].any()
    assert list(reader.bad) == [2]


def test_decoding_leaves_no_file_behind(flac_manifest):
    reader = Reader(flac_manifest)
    reader.check_members()  # opens the tars
    before = open_files()
    check(reader, np.arange(8), np.zeros(8, dtype=np.int64), 4_000)
    assert open_files() == before
    reader.close()


def test_members_are_checked_at_the_start(small_set, tmp_path):
    root = Path(shutil.copytree(small_set, tmp_path / "set"))
    manifest = load_manifest(root)
    reader = Reader(manifest)
    reader.check_members()
    reader.close()
    first, second = (root / shard.file for shard in manifest.file.shards[:2])
    first.rename(root / "x")
    second.rename(first)
    (root / "x").rename(second)
    reader = Reader(manifest)
    with pytest.raises(UserError, match=rf"{first} does not hold clip \S+ where the manifest says"):
        reader.check_members()
    reader.close()


def test_close_gives_every_file_back(small_manifest):
    before = open_files()
    reader = Reader(small_manifest)
    reader.check_members()
    assert open_files() == before + len(small_manifest.file.shards)
    reader.close()
    assert open_files() == before
