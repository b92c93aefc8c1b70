"""Other loaders over the same clips, each by the way that its own documentation recommends, at its fastest found.

What is not installed is left out. None shuffles more than it must; samples are taken from WAVs without a decoder.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import webdataset
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asd.data.loader import row_memory
from asd.data.manifest import load_manifest
from asd.data.plan import Stream, make_plan
from asd.data.reader import Reader
from benchmarks.speed.loader.contender import BATCH, Batches, Contender
from benchmarks.speed.loader.sets import Sets

WAV_HEADER = 44
SPDL = importlib.util.find_spec("spdl") is not None


def peers(sets: Sets) -> list[Contender]:
    """Those that are here."""
    tars = sets.tars("pcm")
    found = [
        Contender(f"webdataset, {where}", partial(from_webdataset, tars, wav_samples, workers), passes=2)
        for workers, where in ((0, "in this process"), (1, "1 worker"), (2, "2 workers"))
    ]
    found.append(Contender("files + DataLoader, 2 workers", partial(from_files, sets.wav_files), passes=2))
    if SPDL:
        found += [
            Contender("SPDL, tars, 2 threads", partial(spdl_tars, tars)),
            Contender("SPDL, our reads as its stage, 2 threads", partial(spdl_reads, sets.pcm)),
        ]
    return found


def stacked(samples: Sequence[np.ndarray]) -> Tensor:
    """(T,) of every clip → (B, T)"""
    return torch.from_numpy(np.stack(samples))


# webdataset


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


# One file a clip


class Files(Dataset[Tensor]):
    """WAV files, read by soundfile."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(soundfile.read(self.paths[index], dtype="int16")[0])


def from_files(files: Sequence[Path], passes: int) -> Batches:
    yield from DataLoader(Files([*files] * passes), batch_size=BATCH, shuffle=True, num_workers=2)


# SPDL


def spdl_tars(tars: Sequence[str], passes: int) -> Batches:
    """Its own tar and WAV parsers, without copies, on whole tars; batches are put together in the same two threads."""
    from spdl.io import iter_tarfile, load_wav
    from spdl.pipeline import PipelineBuilder

    def clips(path: str) -> Iterator[np.ndarray]:
        for name, content in iter_tarfile(Path(path).read_bytes()):
            if name.endswith(".wav"):
                yield np.asarray(load_wav(content))[:, 0]

    builder = PipelineBuilder().add_source([*tars] * passes).pipe(clips, concurrency=1)
    builder = builder.aggregate(BATCH).pipe(stacked, concurrency=1).add_sink(4)
    yield from _spdl_batches(builder)


def spdl_reads(shards: Path, passes: int) -> Batches:
    """Batches of our plan, read by our reader in its threads, each into an array of its own: the engines compared."""
    from spdl.pipeline import PipelineBuilder

    manifest = load_manifest(shards)
    plan = make_plan([Stream("all", manifest.select("train"), BATCH)], seed=0, run_length=8)
    reader, length = Reader(manifest), int(manifest.frames[0])

    def read(clips: np.ndarray) -> Tensor:
        rows = row_memory(BATCH * length, pinned=False).view(BATCH, length)
        reader.read(clips, np.zeros(BATCH, dtype=np.int64), rows.numpy())
        return rows

    source = [clips for epoch in range(passes) for clips in plan.epoch(epoch)["all"]]
    try:
        yield from _spdl_batches(PipelineBuilder().add_source(source).pipe(read, concurrency=2).add_sink(4))
    finally:
        reader.close()


def _spdl_batches(builder: Any) -> Batches:
    pipeline = builder.build(num_threads=2)
    with pipeline.auto_stop():
        yield from pipeline.get_iterator()
