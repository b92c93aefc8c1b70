"""Sets from elsewhere: limits of the cache and of the disk, and the end of a run."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from asd.data.cache.cached_set import GIB
from asd.data.cache.shared_files import make_room, open_shared, part_path, writing
from asd.errors import UserError
from asd.files import download
from tests.support.cached import failure, fetch, number_of, same_as, tars
from tests.support.patience import PATIENCE_S, wait_for

pytestmark = pytest.mark.usefixtures("quick")


def bytes_under(cached: Path) -> int:
    """What tars and beginnings of tars take just now."""
    found = 0
    for path in [*cached.glob("*/*.tar"), *cached.glob("*/*.tar.*.part")]:
        with suppress(FileNotFoundError):  # evicted, or renamed
            found += path.stat().st_size
    return found


def test_least_recently_used_shards_make_room(site, opened, small_set, tmp_path):
    sizes = {name: len(site.files[name].content) for name in site.tars}
    first, second, third, *_ = sorted(sizes, key=lambda name: -sizes[name])
    manifest = opened(gib=(sizes[first] + sizes[second]) / GIB)
    for name in (first, second, first):
        fetch(manifest, name)
        time.sleep(0.02)
    fetch(manifest, third)
    assert {path.name for path in manifest.root.glob("*.tar")} == {first, third}
    assert site.times(first) == site.times(second) == 1


def test_a_set_larger_than_the_cache_is_read_as_well(site, opened, small_set, tmp_path, capsys):
    largest = max(len(site.files[name].content) for name in site.tars)
    most, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.001):
            most = max(most, bytes_under(tmp_path / "cache"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    manifest = opened(gib=1.5 * largest / GIB)
    tars(manifest).expect(np.arange(len(manifest)))
    for _ in range(3):
        assert same_as(small_set, manifest)
    ended.set()
    watcher.join()
    assert largest <= most <= 1.5 * largest
    assert "is too little" not in capsys.readouterr().err
    assert not any(path.suffix == ".part" for path in manifest.root.iterdir())


def test_a_tar_that_is_open_is_not_evicted_and_the_limit_gives_way(site, opened, small_set, capsys):
    sizes = {name: len(site.files[name].content) for name in site.tars}
    manifest = opened(gib=1.2 * max(sizes.values()) / GIB)
    first, second = sorted(sizes, key=lambda name: -sizes[name])[:2]
    held = tars(manifest).open(number_of(manifest, first))
    fetch(manifest, second)
    assert {path.name for path in manifest.root.glob("*.tar")} == {first, second}
    assert "is too little for the shards that are read at once" in capsys.readouterr().err
    os.close(held)
    fetch(manifest, next(name for name in site.tars if name not in (first, second)))
    assert first not in {path.name for path in manifest.root.glob("*.tar")}


def test_an_evicted_tar_does_not_come_back_to_life(tmp_path):
    """Whoever opened a tar just before it was evicted does not take it for one that is there."""
    path = tmp_path / "set" / "a.tar"
    path.parent.mkdir()
    path.write_bytes(b"x" * 100)
    held = open_shared(path)
    assert held is not None
    assert make_room(tmp_path, 50) == 50
    os.close(held)
    assert make_room(tmp_path, 50) == 0
    assert open_shared(path) is None


def test_beginnings_count_in_full_and_make_room_once_nobody_writes_them(tmp_path):
    (tmp_path / "set").mkdir()
    path = tmp_path / "set" / "a.tar"
    part = part_path(path, 1000, "0123456789")
    with writing(part, path.exists, threading.Event(), wait=False) as out:
        assert out is not None
        assert make_room(tmp_path, 400) == 600
        with writing(part, path.exists, threading.Event(), wait=False) as other:
            assert other is None
    assert make_room(tmp_path, 400) == 0
    assert not part.exists()


def test_a_cache_smaller_than_a_shard(site, opened):
    with pytest.raises(UserError, match=r"data.cache_gib=9.99e-07 holds no shard of shards-\w+, whose largest has"):
        opened(gib=1e-6)
    assert len(site.asked) == 2


def test_a_disk_smaller_than_the_set(site, opened, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(UserError, match=r"needs .* GiB for shards .* free some space, name another data.cache_dir"):
        opened()


def test_a_disk_that_fills_up(site, opened, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    manifest = opened()
    monkeypatch.setattr(download.Downloader, "_write", full)
    assert "no space left in" in failure(manifest)


def test_the_end_of_a_run_does_not_wait_for_a_tar(site, opened):
    for name in site.tars:
        site.files[name].statuses = [503] * 1000
    manifest = opened()
    download.FIRST_WAIT_S = download.MAX_WAIT_S = 60.0
    problems: list[str] = []
    reading = threading.Thread(target=lambda: problems.append(failure(manifest)))
    reading.start()
    wait_for(lambda: len(site.asked) > 2)  # the reader waits for its tar
    tars(manifest).expect(np.arange(len(manifest)))
    tars(manifest).close()
    reading.join(PATIENCE_S)
    assert "cancelled, the run is stopping" in problems[0]
