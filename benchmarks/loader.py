"""`python -m benchmarks.loader`: clips/s of the loader beside two floors and other ways of reading, in one run.

Every reader delivers int16 batches of 64 whole clips to this process, from the page cache; before the clock starts
each one's clips are counted and their checksums compared. Rounds are interleaved; the table shows medians.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import statistics
import tempfile
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
import torch
import webdataset
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asd.data.loader import Loader, training_requests
from asd.data.manifest import load_manifest
from asd.data.plan import Stream, make_plan
from shards import pack

RATE = 16_000
BATCH = 64
WAV_HEADER = 44
BLOCK = 1 << 20
PASSES = 4  # over the set in one measurement, so that starting and prefetching hardly count

Batches = Iterator[Tensor]  # each (64, T) int16, perhaps a smaller one at the end


@dataclass
class Reader:
    """One way of reading: `batches(passes)` goes through the set that often."""

    name: str
    batches: Callable[[int], Batches]
    is_floor: bool = False  # its batches hold no particular clips
    clips_per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


def main() -> int:
    options = parse()
    console = Console(width=110)
    with tempfile.TemporaryDirectory(prefix="bench-loader-", dir=options.folder) as folder:
        console.print(f"packing {options.clips} clips of {options.seconds:g} s in {folder}")
        sets = make_sets(Path(folder), options.clips, options.seconds)
        readers = make_readers(sets, options.clips, round(options.seconds * RATE))
        check_equal([r for r in readers if not r.is_floor], options.clips)
        console.print(f"all {options.clips} clips exactly once and equal in all readers")
        for _ in range(options.rounds):
            for reader in readers:
                measure(reader, options.clips * PASSES)
    console.print(table(readers, options))
    for line in goals(readers):
        console.print(line)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader", description=__doc__)
    parser.add_argument("--clips", type=int, default=1024, help="clips of the set, in whole batches (default 1024)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip (default 10)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of every reader (default 3)")
    parser.add_argument("--folder", type=Path, help="where the set is made for the time (default: the temporary one)")
    options = parser.parse_args()
    if options.clips < BATCH or options.clips % BATCH:
        parser.error(f"--clips must be a multiple of {BATCH}")
    return options


# The sets


@dataclass(frozen=True)
class Sets:
    """The same clips three times."""

    files: Path
    pcm: Path
    flac: Path


def make_sets(folder: Path, clips: int, seconds: float) -> Sets:
    """Recordings in DCASE 2020 layout, and both kinds of shards of them."""
    sets = Sets(folder / "files", folder / "pcm", folder / "flac")
    place = sets.files / "fan" / "train"
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    clip_s = np.arange(round(seconds * RATE)) / RATE
    for number in range(clips):
        tone = 0.2 * np.sin(2 * np.pi * rng.uniform(100, 1000) * clip_s)
        noise = 0.02 * rng.standard_normal(len(clip_s), dtype=np.float32)
        soundfile.write(place / f"normal_id_00_{number:08d}.wav", tone + noise, RATE, subtype="PCM_16")
    for codec, out in (("pcm16", sets.pcm), ("flac", sets.flac)):
        words = f"--layout dcase2020 --source {sets.files} --out {out} --codec {codec} --shard-mib 32"
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            pack.main(words.split())
    return sets


# The readers


def make_readers(sets: Sets, clips: int, samples: int) -> list[Reader]:
    tars = sorted(str(path) for path in sets.pcm.glob("*.tar"))
    files = sorted(sets.files.rglob("*.wav"))
    resident = np.ones((clips, samples), dtype=np.int16)
    return [
        Reader("floor: memcpy, one core", partial(memcpy, resident), is_floor=True),
        Reader("floor: read() by 1 MiB, one core", partial(read_blocks, tars), is_floor=True),
        Reader("ceiling: 2 bare threads, preadv", partial(bare_threads, tars, samples), is_floor=True),
        Reader("ours: 2 threads, runs of 8", partial(ours, sets.pcm, 8)),
        Reader("ours: 2 threads, single clips", partial(ours, sets.pcm, 1)),
        Reader("ours: 2 threads, runs of 8, FLAC", partial(ours, sets.flac, 8)),
        Reader("webdataset, in this process", partial(from_webdataset, tars, 0)),
        Reader("webdataset, 1 worker", partial(from_webdataset, tars, 1)),
        Reader("webdataset, 2 workers", partial(from_webdataset, tars, 2)),
        Reader("files, DataLoader, 2 workers", partial(from_files, files)),
    ]


def memcpy(resident: np.ndarray, passes: int) -> Batches:
    clips, samples = resident.shape
    buffers = [torch.zeros(BATCH, samples, dtype=torch.int16) for _ in range(5)]
    for number in range(clips // BATCH * passes):
        buffer = buffers[number % len(buffers)]
        row = number * BATCH % clips
        np.copyto(buffer.numpy(), resident[row : row + BATCH])
        yield buffer


def read_blocks(tars: Sequence[str], passes: int) -> Batches:
    block = bytearray(BLOCK)
    for path in [*tars] * passes:
        with Path(path).open("rb", buffering=0) as file:
            while file.readinto(block):
                pass
        yield torch.empty(0)


def bare_threads(tars: Sequence[str], samples: int, passes: int) -> Batches:
    """The tars straight through into blocks of the size of a batch: what two threads can do where nothing is asked."""
    buffers = deque(np.zeros(BATCH * samples, dtype=np.int16) for _ in range(5))

    def fill(path: str, offset: int) -> None:
        buffer = buffers.popleft()
        with Path(path).open("rb", buffering=0) as file:
            os.preadv(file.fileno(), [memoryview(buffer)], offset)  # type: ignore[arg-type]  # numpy stubs before 3.12
        buffers.append(buffer)

    step = BATCH * samples * 2
    blocks = [(path, at) for path in [*tars] * passes for at in range(0, Path(path).stat().st_size, step)]
    yield torch.empty(0)
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda block: fill(*block), blocks):
            pass


def ours(shards: Path, run_length: int, passes: int) -> Batches:
    manifest = load_manifest(shards)
    clips = manifest.select("train")
    plan = make_plan([Stream("all", clips, BATCH)], seed=0, run_length=run_length)
    requests = training_requests(manifest, plan, int(manifest.frames[0]), 0, 0, rank=0, world_size=1)
    loader = Loader(manifest, torch.device("cpu"), threads=2, prefetch=4)
    try:
        for batch in loader.stream(islice(requests, plan.steps_per_epoch * passes)):
            yield batch.waveform
    finally:
        loader.close()


def from_webdataset(tars: Sequence[str], workers: int, passes: int) -> Batches:
    """Its usual pipeline at its fastest: no shuffling, samples taken from the WAV without a decoder."""
    tars = [path for path in tars for _ in range(passes)]
    split = webdataset.split_by_worker
    pipeline = webdataset.WebDataset(tars, shardshuffle=False, workersplitter=split).map(_wav_samples)
    batched = pipeline.batched(BATCH, collation_fn=_stack, partial=True)
    if workers == 0:
        yield from batched
    else:
        yield from webdataset.WebLoader(batched, batch_size=None, num_workers=workers)


def _wav_samples(sample: dict[str, bytes]) -> np.ndarray:
    return np.frombuffer(sample["wav"], dtype="<i2", offset=WAV_HEADER)


def _stack(samples: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(samples))


class Files(Dataset[Tensor]):
    """One WAV file a clip."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(soundfile.read(self.paths[index], dtype="int16")[0])


def from_files(files: Sequence[Path], passes: int) -> Batches:
    yield from DataLoader(Files([*files] * passes), batch_size=BATCH, shuffle=True, num_workers=2)


# Checking and measuring


def check_equal(readers: Sequence[Reader], clips: int) -> None:
    """Every reader delivers the same clips, each once; this also brings every file into the page cache."""
    first: Counter[int] | None = None
    for reader in readers:
        found = Counter(zlib.crc32(row.numpy()) for batch in reader.batches(1) for row in batch)
        if found.total() != clips or max(found.values()) > 1:
            raise SystemExit(f"{reader.name}: {found.total()} clips, {len(found)} different ones, of {clips}")
        if first is not None and found != first:
            raise SystemExit(f"{reader.name}: other samples than {readers[0].name}")
        first = found


def measure(reader: Reader, clips: int) -> None:
    """One measurement, from the first batch on: starting workers is not counted, what they read ahead is a present."""
    gc.collect()
    batches = reader.batches(PASSES)
    skipped = len(next(batches))
    begin, cpu = time.perf_counter(), cpu_s()
    for _ in batches:
        pass
    reader.clips_per_s.append((clips - skipped) / (time.perf_counter() - begin))
    reader.cpu_us.append((cpu_s() - cpu) / (clips - skipped) * 1e6)


def cpu_s() -> float:
    """Seconds of CPU of this process and of all workers that have ended."""
    return sum(os.times()[:4])


def table(readers: Sequence[Reader], options: argparse.Namespace) -> Table:
    shown = Table(title=f"{options.clips} clips of {options.seconds:g} s, medians of {options.rounds} rounds")
    for title in ("batches of 64", "clips/s", "min - max", "CPU µs a clip", "x read floor", "x webdataset"):
        shown.add_column(title, justify="left" if title.startswith("batches") else "right")
    for r in readers:
        speed, spread = statistics.median(r.clips_per_s), f"{min(r.clips_per_s):,.0f} - {max(r.clips_per_s):,.0f}"
        cpu, floor, peer = statistics.median(r.cpu_us), over_floor(r, readers), over_webdataset(r, readers)
        shown.add_row(r.name, f"{speed:,.0f}", spread, f"{cpu:,.0f}", f"{floor:.2f}", f"{peer:.1f}")
    return shown


def over_floor(reader: Reader, readers: Sequence[Reader]) -> float:
    """Median over rounds of the reader's speed over the page-cache floor's of the same round."""
    (floor,) = (r for r in readers if "read()" in r.name)
    return ratio(reader.clips_per_s, floor.clips_per_s)


def over_webdataset(reader: Reader, readers: Sequence[Reader]) -> float:
    """The same over webdataset at its best of the round."""
    peers = [r.clips_per_s for r in readers if r.name.startswith("webdataset")]
    return ratio(reader.clips_per_s, [max(speeds) for speeds in zip(*peers, strict=True)])


def ratio(speeds: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(speeds, others, strict=True))


def goals(readers: Sequence[Reader]) -> Iterator[str]:
    (loader,) = (r for r in readers if r.name == "ours: 2 threads, runs of 8")
    (ceiling,) = (r for r in readers if r.name.startswith("ceiling"))
    yield f"the loader is {ratio(loader.clips_per_s, ceiling.clips_per_s):.2f} x what two bare threads read in this run"
    yield told(over_floor(loader, readers), 1.2, "the read floor")
    yield told(over_webdataset(loader, readers), 10, "webdataset at its best")


def told(found: float, goal: float, what: str) -> str:
    return f"the loader is {found:.2f} x {what}; goal {goal:g}: {'reached' if found >= goal else 'MISSED'}"


if __name__ == "__main__":
    raise SystemExit(main())
