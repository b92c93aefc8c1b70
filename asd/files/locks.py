"""Locks by the kernel's flock: they belong to open files and go with the process, however that ends.

Some file systems have none (Lustre without `-o flock`, some FUSE and NFS mounts): what that means, each use says.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from pathlib import Path
from typing import Literal

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK)

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
    """what: that nothing keeps from being done twice there."""
    print(
        f"warning: {folder} is on a file system without locks: nothing keeps two {what} apart, start one alone",
        file=sys.stderr,
        flush=True,
    )
