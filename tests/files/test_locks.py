"""Where the file system has no locks: a warning where one process alone is safe, one line where many share a place."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from asd.data.cache.cached_set import open_cached
from asd.errors import UserError
from asd.files.locks import NO_LOCKS, has_locks
from asd.run_folder.lock import RunLock
from shards import staging
from shards.download.__main__ import DownloadLock


@pytest.fixture(params=sorted({*NO_LOCKS}), ids=errno.errorcode.get)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


WARNING = "warning: {} is on a file system without locks: do not start two {} there at the same time\n"


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
    with DownloadLock(tmp_path / "out") as lock:
        lock.take()
        assert capsys.readouterr().err == WARNING.format(tmp_path / "out", "downloads")
    with RunLock(tmp_path / "run") as lock:
        lock.take()
    assert capsys.readouterr().err == WARNING.format(tmp_path / "run", "trainings")


def test_a_shared_cache_is_refused_with_what_to_set(no_locks, tmp_path):
    with pytest.raises(UserError, match=r"set data\.cache_dir to a folder on a local disk"):
        open_cached("http://127.0.0.1:9/set", tmp_path / "cache", None)


def holding(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of a folder, until it is killed."""
    program = (
        "import sys, time; from pathlib import Path; from asd.run_folder.lock import RunLock\n"
        "lock = RunLock(Path(sys.argv[1])); lock.take(); print('held', flush=True); time.sleep(1e6)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_refusal_names_the_holder_and_a_killed_holder_holds_nothing(tmp_path):
    with holding(tmp_path) as holder:
        try:
            named = rf"training in .* \(process {holder.pid} on {re.escape(socket.gethostname())}, since \d{{4}}-"
            for _ in range(2):  # who is refused leaves the holder's name where it is
                with RunLock(tmp_path) as lock, pytest.raises(UserError, match=named):
                    lock.take()
        finally:
            holder.kill()
        holder.wait()
        with RunLock(tmp_path) as lock:
            lock.take()


@pytest.mark.parametrize("content", [b"", b"\xff\x00" * 1000])
def test_a_holder_of_another_version_says_nothing_useful(tmp_path, content):
    """Lock files of earlier versions are empty; nobody else's bytes flood the terminal."""
    path = tmp_path / RunLock.name
    path.write_bytes(content)
    with path.open("rb") as file, RunLock(tmp_path) as lock:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is training") as caught:
            lock.take()
        assert len(str(caught.value)) < 1000
    assert path.read_bytes() == content


def test_other_failures_stay_what_they_are(monkeypatch, tmp_path):
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output"), RunLock(tmp_path) as lock:
        lock.take()
