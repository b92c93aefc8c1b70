"""What the page cache and the codec give where nothing is asked of them, and other loaders over the same clips.

Each loader is used by the way that its own documentation recommends, at its fastest found; what is not installed is
left out. webdataset does not shuffle; samples are taken from WAVs without a decoder.
"""

from __future__ import annotations

import importlib.util
import io
import mmap
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import webdataset
from torch import Tensor

from asd.data.manifest import load_manifest
from asd.data.plan import Stream, make_plan
from asd.data.reader import Reader
from benchmarks.speed.loader.contender import BATCH, Batches, Contender
from benchmarks.speed.loader.sets import Sets

WAV_HEADER = 44
BLOCK = 1 << 20
ONE_BATCH = range(BATCH)  # stands for a batch of no particular clips
_own = threading.local()
SPDL = importlib.util.find_spec("spdl") is not None


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


def peers(sets: Sets) -> list[Contender]:
    """Those that are here."""
    tars = sets.tars("pcm")
    found = [
        Contender(f"webdataset, {workers} workers", partial(from_webdataset, tars, wav_samples, workers), passes=2)
        for workers in (0, 1, 2)
    ]
    if SPDL:
        found.append(Contender("SPDL, our reads as its stage, 2 threads", partial(spdl_reads, sets.root / "pcm")))
    return found


def stacked(samples: Sequence[np.ndarray]) -> Tensor:
    """(T,) of every clip → (B, T)"""
    return torch.from_numpy(np.stack(samples))


def from_webdataset(tars: Sequence[str], decode: Any, workers: int, passes: int) -> Batches:
    """Batched in the worker, so that one large array crosses to this process."""
    urls = [path for path in tars for _ in range(passes)]
    split = webdataset.split_by_worker
    pipeline = webdataset.WebDataset(urls, shardshuffle=False, workersplitter=split).map(decode)
    batched = pipeline.batched(BATCH, collation_fn=stacked, partial=True)
    yield from batched if workers == 0 else webdataset.WebLoader(batched, batch_size=None, num_workers=workers)


def wav_samples(sample: dict[str, bytes]) -> np.ndarray:
    return np.frombuffer(sample["wav"], dtype="<i2", offset=WAV_HEADER)


def flac_samples(sample: dict[str, bytes]) -> np.ndarray:
    return soundfile.read(io.BytesIO(sample["flac"]), dtype="int16")[0]


def spdl_reads(shards: Path, passes: int) -> Batches:
    """Batches of our plan, read by our reader in its threads, each into an array of its own: the engines compared."""
    from spdl.pipeline import PipelineBuilder

    manifest = load_manifest(shards)
    plan = make_plan([Stream("all", manifest.select("train"), BATCH)], seed=0, run_length=8)
    reader, length = Reader(manifest), int(manifest.frames[0])

    def read(clips: np.ndarray) -> Tensor:
        rows = torch.empty(BATCH, length, dtype=torch.int16)
        reader.read(clips, np.zeros(BATCH, dtype=np.int64), rows.numpy())
        return rows

    source = [clips for epoch in range(passes) for clips in plan.epoch(epoch)["all"]]
    pipeline = PipelineBuilder().add_source(source).pipe(read, concurrency=2).add_sink(4).build(num_threads=2)
    try:
        with pipeline.auto_stop():
            yield from pipeline.get_iterator()
    finally:
        reader.close()
