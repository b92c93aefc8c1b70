"""What the page cache and the codec give where nothing is asked of them."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.speed.loader.contender import BATCH, Batches

BLOCK = 1 << 20
ONE_BATCH = range(BATCH)  # stands for a batch of no particular clips
_own = threading.local()


def read_blocks(tars: Sequence[str], samples: int, passes: int) -> Batches:
    """read() into one block of 1 MiB, one core."""
    block, read, batch_bytes = _memory(BLOCK), 0, 2 * BATCH * samples
    for path in [*tars] * passes:
        with Path(path).open("rb", buffering=0) as file:
            while got := file.readinto(block):
                read += got
                while read >= batch_bytes:
                    read -= batch_bytes
                    yield ONE_BATCH


def _memory(size: int) -> mmap.mmap:
    """Whole pages, huge ones where there are any: where a copy from the page cache is fastest."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    memory.write(bytes(size))
    return memory


def bare_codec(files: Sequence[str], kind: type[Executor], passes: int) -> Batches:
    """soundfile on FLAC files of their own, two threads or processes; the samples stay where they were decoded."""
    batches = [files[at : at + BATCH] for at in range(0, len(files) - BATCH + 1, BATCH)] * passes
    with kind(2) as pool:  # type: ignore[call-arg]
        for _ in pool.map(_decode, batches):
            yield ONE_BATCH


def _decode(paths: Sequence[str]) -> None:
    if not hasattr(_own, "row"):
        _own.row = np.ones(soundfile.info(paths[0]).frames, dtype=np.int16)
    for path in paths:
        soundfile.read(path, dtype="int16", out=_own.row)
