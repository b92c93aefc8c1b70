"""Atomic writes: a file is complete or does not exist."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from asd.files.paths import check_special


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put into a failed write which file or folder it was about: the system names those alone that cannot be opened."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears by rename, complete or not at all; one of that name stays until then."""
    check_special("the output", path)
    partial = path.with_name(path.name + ".partial")
    try:
        with naming(path), partial.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write a text file so."""
    with whole(path) as handle:
        handle.write(text.encode())


def discard(path: Path) -> None:
    """Remove a folder; where it is a link, such as to a disk with more space, the link alone."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()  # a file or link
