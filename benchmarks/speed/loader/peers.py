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
OPTIONAL = {"SPDL": "spdl.pipeline", "MosaicML streaming": "streaming", "litdata": "litdata"}


def missing() -> list[str]:
    """Optional peers that are not installed."""
    return [name for name, module in OPTIONAL.items() if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module.partition(".")[0]) is not None


def peers(sets: Sets) -> list[Contender]:
    """Those that are here; sets in their own formats are written first."""
    tars = sets.tars("pcm")
    found = [
        Contender(f"webdataset, {where}", partial(from_webdataset, tars, wav_samples, workers), passes=2)
        for workers, where in ((0, "in this process"), (1, "1 worker"), (2, "2 workers"))
    ]
    found.append(Contender("files + DataLoader, 2 workers", partial(from_files, sets.wav_files), passes=2))
    if _is_installed("spdl"):
        found += [
            Contender("SPDL, tars, 2 threads", partial(spdl_tars, tars)),
            Contender("SPDL, our reads as its stage, 2 threads", partial(spdl_reads, sets.pcm)),
        ]
    if _is_installed("streaming"):
        _let_torchvision_import()
        _write_mds(sets)
        found.append(Contender("MosaicML streaming, 2 workers", partial(from_mosaic, sets.root / "mds"), passes=2))
    if _is_installed("litdata"):
        _let_torchvision_import()
        _write_litdata(sets)
        found.append(Contender("litdata, 2 workers", partial(from_litdata, sets.root / "litdata"), passes=1))
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


# MosaicML streaming, litdata


def _let_torchvision_import() -> None:
    """Both import torchvision, whose wheel is built for CUDA; beside a CPU build of torch two operators lack a name."""
    if torch.version.cuda is None and not hasattr(torch.ops.torchvision, "nms"):
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")


def _write_mds(sets: Sets) -> None:
    from streaming import MDSWriter

    with MDSWriter(out=str(sets.root / "mds"), columns={"clip": f"ndarray:int16:{sets.samples}"}) as writer:
        for path in sets.wav_files:
            writer.write({"clip": soundfile.read(path, dtype="int16")[0]})


def from_mosaic(folder: Path, passes: int) -> Batches:
    """Fixed-shape arrays, no hash checks, no shuffling; one epoch repeats the set, as an epoch is slow to start."""
    from streaming import Stream as MdsStream
    from streaming import StreamingDataset

    streams = [MdsStream(local=str(folder), repeat=passes)]
    dataset = StreamingDataset(streams=streams, batch_size=BATCH, shuffle=False)
    yield from DataLoader(dataset, batch_size=BATCH, num_workers=2, collate_fn=_mds_stacked)


def _mds_stacked(samples: Sequence[dict[str, np.ndarray]]) -> Tensor:
    return stacked([sample["clip"] for sample in samples])


def _write_litdata(sets: Sets) -> None:
    import litdata

    litdata.optimize(
        fn=_int16,
        inputs=[str(path) for path in sets.wav_files],
        output_dir=str(sets.root / "litdata"),
        chunk_bytes="64MB",
        num_workers=1,
        verbose=False,
        start_method="fork",  # else it sets "spawn" for the whole process, other loaders' workers included
    )


def _int16(path: str) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0]


def from_litdata(folder: Path, passes: int) -> Batches:
    import litdata

    for _ in range(passes):
        dataset = litdata.StreamingDataset(str(folder), shuffle=False)
        yield from litdata.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=2, collate_fn=stacked)
