"""Memory that all processes of a node see. It is the kernel's to free when the last of them ends, however it ends.

A memory file, not /dev/shm: a container gives that 64 MB as a rule.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

from asd.errors import UserError


def create(size: int) -> str:
    """A path to new memory of so many bytes, for this process and others of its user, while this process lives."""
    descriptor = os.memfd_create("asd-set")
    os.truncate(descriptor, max(1, size))
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def mapped(path: str, size: int) -> np.ndarray:
    """(size / 2,) int16 that all who map the path write and read. UserError where this process may not."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError as error:
        raise UserError(
            f"data.resident: this rank cannot see the shared memory {path} of another ({error.strerror}): run all "
            "ranks of a node in one container and by one user, or set data.resident=off"
        ) from None
    try:
        return np.frombuffer(mmap.mmap(descriptor, max(1, size)), dtype=np.int16, count=size // 2)
    finally:
        os.close(descriptor)


def close(path: str) -> None:
    """Let go of memory by the path that its maker has; it stays for those who have mapped it."""
    os.close(int(path.rsplit("/", 1)[1]))
