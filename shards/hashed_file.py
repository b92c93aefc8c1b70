"""A file that is written in large pieces, and hashed by another thread meanwhile."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

# Larger pieces were measured to cost three times the system time: the page cache then looks for large pages.
PIECE_BYTES = 256 << 10


class HashedFile:
    """A new file that takes bytes; `size` counts them at once, `sha256` is theirs when it is closed.

    Two buffers take turns, so that one piece is hashed while the next one is gathered; they are reused, since fresh
    memory for every clip costs as much as hashing it.
    """

    def __init__(self, path: Path) -> None:
        self.size = 0
        self._digest = hashlib.sha256()
        self._file = path.open("wb", buffering=0)
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        self._hashing: Future[None] | None = None
        self._piece, self._other = (memoryview(bytearray(PIECE_BYTES)) for _ in "12")
        self._filled = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: bytes) -> int:
        left = memoryview(data)
        while left:
            part = left[: PIECE_BYTES - self._filled]
            self._piece[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            left = left[len(part) :]
            if self._filled == PIECE_BYTES:
                self._flush()
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file, self._hasher:
            if kind is None:
                self._flush()

    def _flush(self) -> None:
        """Write what was gathered while it is hashed, once the hash of the piece before is done."""
        if self._hashing is not None:
            self._hashing.result()
        piece = self._piece[: self._filled]
        self._hashing = self._hasher.submit(self._digest.update, piece)
        while piece:  # the system may take less than it was given
            piece = piece[os.write(self._file.fileno(), piece) :]
        self._piece, self._other, self._filled = self._other, self._piece, 0
