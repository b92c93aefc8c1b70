"""Fills memory from the tars of a set, a share of the shards by each process, and holds them against the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from asd.data.manifest import Manifest
from asd.data.reader import Reader
from asd.data.resident.held import SAMPLE_BYTES, Layout
from asd.errors import UserError


def load(
    manifest: Manifest, layout: Layout, memory: np.ndarray, threads: int, part: int = 0, parts: int = 1
) -> Iterator[tuple[int, dict[int, str]]]:
    """Read every `parts`-th shard, from `part` on, into its place in memory, that of a `Held`; a few at a time.

    Yields after each of them its bytes of samples, and clip → why it could not be read; it is silence then. Raises
    UserError where a tar is not the one that was packed.
    """
    if manifest.tars is not None:
        manifest.tars.expect(layout.order)
    reader = Reader(manifest)
    shard = manifest.column("shard")[layout.order]
    own = np.unique(shard)[part::parts]
    with ThreadPoolExecutor(threads, thread_name_prefix="loading") as pool:
        try:
            found = [pool.submit(_load_shard, reader, layout, layout.order[shard == one], memory) for one in own]
            for done in as_completed(found):
                clips = done.result()
                problems = {int(clip): reader.bad[clip] for clip in clips if clip in reader.bad}
                yield SAMPLE_BYTES * layout.channels * int(manifest.frames[clips].sum()), problems
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            reader.close()


def _load_shard(reader: Reader, layout: Layout, clips: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """The clips of one shard, which lie behind one another: those of a length in one call."""
    _check_tar(reader.manifest, int(reader.manifest.column("shard")[clips[0]]))
    frames = reader.manifest.frames[clips]
    for same in np.split(clips, np.flatnonzero(np.diff(frames)) + 1):
        length, begin = int(reader.manifest.frames[same[0]]), layout.first[same[0]]
        rows = memory.reshape(layout.channels, -1)[:, begin : begin + len(same) * length]
        reader.read(same, np.zeros(len(same), dtype=np.int64), *(own.reshape(len(same), length) for own in rows))
    return clips


def _check_tar(manifest: Manifest, shard: int) -> None:
    """Tars of a cache were checked when they came."""
    entry = manifest.file.shards[shard]
    if manifest.tars is not None:
        return
    path = manifest.root / entry.file
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: copy or pack the set again") from None
    if found != entry.sha256:
        raise UserError(f"{path} is not what was packed (its sha256 differs): copy or pack the set again")
