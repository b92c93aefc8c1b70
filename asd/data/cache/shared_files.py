"""Files of a cache that many processes of a node share. The kernel's flock is all that they agree by.

A tar that is read is open under a shared lock; one that is on its way is a `.part` under an exclusive lock, and becomes
the tar by rename. Locks belong to open files: they go with the process, however that ends.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from asd.errors import UserError
from asd.files.locks import has_locks, lock

POLL_S = 0.02
LOCK_FILE = ".lock"
PART_NAME = re.compile(r".*\.(\d+)-[0-9a-f]{8}\.part")


def check_without_locks(root: Path) -> None:
    """Raises UserError where processes of a node could not share the cache."""
    if not has_locks(root, LOCK_FILE):
        raise UserError(
            f"data.cache_dir={root} is on a file system without locks, which the ranks of a node need to share it: "
            "set data.cache_dir to a folder on a local disk"
        )


def part_path(path: Path, size: int, sha256: str) -> Path:
    """Where the beginning of a file is kept. Its name tells what room it will take, and whose beginning it is."""
    return path.with_name(f"{path.name}.{size}-{sha256[:8]}.part")


def open_shared(path: Path) -> int | None:
    """A descriptor that keeps the file from being evicted until it is closed; None where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    lock(descriptor, shared=True)  # waits for whoever evicts it just now
    if os.fstat(descriptor).st_nlink == 0:
        os.close(descriptor)
        return None
    os.utime(descriptor)  # when it was last used
    return descriptor


@contextmanager
def writing(part: Path, is_there: Callable[[], bool], stop: threading.Event, wait: bool) -> Iterator[FileIO | None]:
    """The open part, nobody else's until the block ends; None once the file is there, or where it is not to `wait`."""
    file = _take(part, is_there, stop, wait)
    try:
        yield file
    finally:
        if file is not None:
            file.close()


def _take(part: Path, is_there: Callable[[], bool], stop: threading.Event, wait: bool) -> FileIO | None:
    while not is_there():
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        file = os.fdopen(descriptor, "r+b", buffering=0)
        if lock(file.fileno(), wait=False) == "ours" and _is_at(file.fileno(), part):
            if not is_there():
                return file
            part.unlink()  # made in vain: the file came in between
        file.close()
        if not wait:
            return None
        if stop.wait(POLL_S):
            raise InterruptedError(f"{part.name} was not downloaded before the run ended")
    return None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has its name: it may have been renamed or removed while it was waited for."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def make_room(root: Path, limit: int) -> int:
    """Remove least recently used tars and beginnings of tars that nobody has open, until all take up to `limit` bytes.

    Returns the bytes that could not be freed. Those of other processes that are on their way count in full.
    """
    with (root / LOCK_FILE).open("wb") as file:
        lock(file.fileno())
        files = sorted(_files(root))
        excess = sum(size for _, size, _ in files) - limit
        for _, size, path in files:
            if excess <= 0:
                break
            if _evict(path):
                excess -= size
    return max(excess, 0)


def cached_bytes(root: Path) -> int:
    """What tars take in a cache, those on their way in full."""
    return sum(size for _, size, _ in _files(root))


def _files(root: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, path) of every tar and every part."""
    for path in root.glob("*/*.*"):
        part = PART_NAME.fullmatch(path.name)
        if part is None and path.suffix != ".tar":
            continue
        try:
            found = path.stat()
        except FileNotFoundError:  # it became a tar just now
            continue
        yield found.st_mtime, int(part[1]) if part else found.st_size, path


def _evict(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        if lock(descriptor, wait=False) != "ours":
            return False
        if _is_at(descriptor, path):
            path.unlink()
        return True
    finally:
        os.close(descriptor)
