"""Where the file system has no locks: a warning where one process alone is safe, one line where many share a place."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from asd.data.cache.cached_set import open_cached
from asd.errors import UserError
from asd.files.locks import NO_LOCKS, has_locks
from asd.run_folder.lock import RunLock
from shards import staging
from shards.download.lock import alone_in


@pytest.fixture(params=sorted({*NO_LOCKS}), ids=errno.errorcode.get)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


WARNING = "warning: {} is on a file system without locks: nothing keeps two {} apart, start one alone\n"


def test_locks_are_found_where_they_are(tmp_path):
    assert has_locks(tmp_path)


def test_a_folder_is_staged_with_a_warning(no_locks, tmp_path, capsys):
    with staging.staged(tmp_path / "set", lambda: None) as folder:
        (folder / "file").touch()
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["file"]
    assert capsys.readouterr().err == WARNING.format(tmp_path, "writers of one folder")


def test_what_may_be_under_way_is_not_removed(no_locks, tmp_path):
    (tmp_path / "set.partial-1").mkdir()
    (tmp_path / "set.partial-1" / staging.LOCK_FILE).touch()
    with pytest.raises(UserError, match="remove it yourself"), staging.staged(tmp_path / "set", lambda: None):
        pass
    assert (tmp_path / "set.partial-1").is_dir()


def test_a_download_and_a_training_begin_with_a_warning(no_locks, tmp_path, capsys):
    with alone_in(tmp_path / "out"):
        assert capsys.readouterr().err == WARNING.format(tmp_path / "out", "downloads")
    with RunLock(tmp_path / "run") as lock:
        lock.take()
    assert capsys.readouterr().err == WARNING.format(tmp_path / "run", "trainings")


def test_a_shared_cache_is_refused_with_what_to_set(no_locks, tmp_path):
    with pytest.raises(UserError, match=r"set data\.cache_dir to a folder on a local disk"):
        open_cached("http://127.0.0.1:9/set", tmp_path / "cache", None)


def test_other_failures_stay_what_they_are(monkeypatch, tmp_path):
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output"), RunLock(tmp_path) as lock:
        lock.take()
