"""Locks by the kernel's flock: they belong to open files and go with the process, however that ends.

Not by filelock 4.3: the cache reads tars under shared locks on their own open files, filelock has exclusive ones on
files beside them; and where flock answers ENOSYS it makes marker files, which outlive a killed process. Some file
systems have no locks (Lustre without `-o flock`, some FUSE and NFS mounts): what that means, each use says.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from contextlib import ExitStack
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import ClassVar, Literal, Self

from asd.errors import UserError

log = logging.getLogger(__name__)

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK)
MAX_HOLDER = 200  # bytes that a holder says of itself

Lock = Literal["ours", "another's", "none"]  # none: the file system has no locks


def lock(descriptor: int, shared: bool = False, wait: bool = True) -> Lock:
    """Lock an open file."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return "another's"
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return "none"
    return "ours"


def has_locks(folder: Path, name: str = ".lock") -> bool:
    """Whether files of a folder can be locked."""
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        return lock(descriptor, shared=True, wait=False) != "none"
    finally:
        os.close(descriptor)


def warn_of_no_locks(folder: Path, what: str) -> None:
    """what: must not run twice there, in the plural."""
    log.warning(f"{folder} is on a file system without locks: do not start two {what} there at the same time")


class FolderLock:
    """Held by the one process that does something in a folder, from `take` to the end of the block; the lock file says
    which process that is, for those that come later."""

    name: ClassVar[str]  # of the lock file in the folder
    what: ClassVar[str]  # name of the work, in the plural
    refusal: ClassVar[str]  # error message for a second process, with {root} and {holder}

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file: FileIO | None = None

    def take(self) -> None:
        """Make the folder and hold its lock. Raises UserError where another process, on any host, holds it."""
        self._root.mkdir(parents=True, exist_ok=True)
        with ExitStack() as unless_held:
            file = unless_held.enter_context((self._root / self.name).open("a+b", buffering=0))
            held = lock(file.fileno(), wait=False)
            if held == "another's":
                file.seek(0)
                holder = file.read(MAX_HOLDER).decode(errors="replace").strip() or "its process is not known"
                raise UserError(self.refusal.format(root=self._root, holder=holder))
            if held == "none":
                warn_of_no_locks(self._root, self.what)
            file.truncate(0)
            since = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {since}\n".encode())
            unless_held.pop_all()
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
