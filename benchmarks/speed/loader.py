"""Our loader beside what the page cache and the codec give by themselves, and what it costs the training thread.

Every reader delivers batches of 64 whole clips (int16) from the page cache into this process. The clock starts after
eight batches, when the threads run and the buffers are in use.
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from itertools import count, islice
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.console import Console

from asd.data.config import DataConfig
from asd.data.loader import Loader, training_requests
from asd.data.manifest import load_manifest
from asd.data.plan import Stream, make_plan
from asd.data.resident.held import Held, Layout
from asd.data.resident.loading import load
from asd.data.resident.reader import memory_loader
from benchmarks.speed.measure import Rounds, interleaved, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.recordings import make_recordings
from shards import pack

CLIPS, CLIP_S = 1024, 10.0
BATCH, WARM_UP = 64, 8  # clips of a batch; batches before the clock starts
CLIPS_PER_S, LAUNCH_S = 16_000, 2.0  # what one fast GPU takes
FAST = f"{CLIPS_PER_S:,} clips/s"
IDLE, MEMORY, COPIES = "none, idle loader", f"{FAST} from memory", f"none; another process copies {FAST}"
OPERATIONS = 50  # between two looks at the clock
BLOCK = 1 << 20
DEFAULTS = DataConfig.model_validate({})
_own = threading.local()

Batches = Iterator[Sized]  # (64, T) int16; a floor yields what has 64 entries


@dataclass
class Contender:
    """One way of reading; `batches(passes)` goes through the set that often."""

    name: str
    batches: Callable[[int], Batches]
    passes: int
    clips_per_s: Rounds = field(default_factory=list)
    cpu_us: Rounds = field(default_factory=list)  # of a clip

    def time_once(self) -> float:
        """Clips/s from the batch after the warm-up to the last."""
        batches = self.batches(self.passes)
        for _ in range(WARM_UP):
            next(batches)
        clips, begin, cpu = 0, time.perf_counter(), time.process_time()
        for batch in batches:
            clips += len(batch)
            end = time.perf_counter()  # after the last batch: ending the threads is not counted
        self.clips_per_s.append(clips / (end - begin))
        self.cpu_us.append((time.process_time() - cpu) / clips * 1e6)
        return self.clips_per_s[-1]


def run(args: argparse.Namespace) -> Part:
    """Everything; some minutes."""
    return measured(args.work, args.rounds, CLIPS, CLIP_S, LAUNCH_S)


def measured(work: Path, rounds: int, clips: int, clip_s: float, launch_s: float) -> Part:
    """The part for another size of set."""
    say = Console().print
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="loader-", dir=work) as folder:
        say(f"loader: packing {clips} clips of {clip_s:g} s as PCM and as FLAC")
        pcm, flac = make_sets(Path(folder), clips, clip_s)
        tables = []
        for contenders in (pcm_contenders(pcm), flac_contenders(flac)):
            say("loader: " + ", ".join(c.name for c in contenders))
            interleaved({c.name: c.time_once for c in contenders}, rounds)
            tables.append(contenders)
        say("loader: the training thread's launches")
        held = in_memory(pcm)
        ways = {IDLE: (0, None), f"{FAST} from tars": (CLIPS_PER_S, None), MEMORY: (CLIPS_PER_S, held)}
        launches = {name: partial(launch_rate, pcm, *way, launch_s) for name, way in ways.items()}
        launches[COPIES] = partial(beside_copies, held, launches[IDLE])
        return part(*tables, interleaved(launches, rounds), f"{clips:,} clips of {clip_s:g} s")


def make_sets(folder: Path, clips: int, clip_s: float) -> list[Path]:
    """The same clips packed as PCM and as FLAC."""
    make_recordings(folder / "recordings", clips, clip_s)
    for codec in ("pcm16", "flac"):
        words = f"--layout dcase2020 --codec {codec} --shard-mib 32 --source {folder / 'recordings'}"
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            pack.main([*words.split(), "--out", str(folder / codec)])
    return [folder / "pcm16", folder / "flac"]


def pcm_contenders(shards: Path) -> list[Contender]:
    return [
        Contender("floor: read() by 1 MiB, 1 core", partial(read_blocks, shards), 8),
        Contender("ours, 2 threads, runs of 8", partial(planned, shards, 8), 8),
        Contender("ours, 2 threads, single clips", partial(planned, shards, 1), 8),
        Contender("ours, data.resident=host, 2 threads", partial(planned, shards, 8, held=in_memory(shards)), 8),
    ]


def flac_contenders(shards: Path) -> list[Contender]:
    for path in shards.glob("*.tar"):
        with tarfile.open(path) as tar:
            tar.extractall(shards / "files", [m for m in tar if m.name.endswith(".flac")], filter="data")
    return [
        Contender("floor: bare codec, 2 threads", partial(bare_codec, sorted((shards / "files").iterdir())), 1),
        Contender("ours, FLAC, 2 threads", partial(planned, shards, 8), 1),
    ]


def in_memory(shards: Path) -> Held:
    """The training clips, loaded as data.resident=host does."""
    manifest = load_manifest(shards)
    layout = Layout.of(manifest, manifest.select("train"))
    memory = np.empty(layout.samples, dtype=np.int16)
    for _ in load(manifest, layout, memory, DEFAULTS.threads):
        pass
    return Held(layout, torch.from_numpy(memory))


def planned(
    shards: Path, run_length: int = DEFAULTS.run_length, passes: int | None = None, held: Held | None = None
) -> Batches:
    """Our loader: whole clips in the order of the plan, on the CPU; without end where passes is None.

    held: where they are cut from in place of the tars.
    """
    manifest = load_manifest(shards)
    plan = make_plan([Stream("all", manifest.select("train"), BATCH)], seed=0, run_length=run_length)
    cpu = torch.device("cpu")
    if held is None:
        loader = Loader(manifest, cpu, DEFAULTS.threads, DEFAULTS.prefetch)
    else:
        loader = memory_loader(manifest, held, cpu, DEFAULTS.threads)
    requests = training_requests(manifest, plan, int(manifest.frames[0]), 0, 0, rank=0, world_size=1)
    try:
        for batch in loader.stream(islice(requests, None if passes is None else plan.steps_per_epoch * passes)):
            yield batch.waveform
    finally:
        loader.close()


def read_blocks(shards: Path, passes: int) -> Batches:
    """read() into one block of 1 MiB of whole pages (huge ones where there are any), one core."""
    batch_bytes, read = 2 * BATCH * int(load_manifest(shards).frames[0]), 0
    block = mmap.mmap(-1, BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block.madvise(mmap.MADV_HUGEPAGE)
    for path in sorted(shards.glob("*.tar")) * passes:
        with path.open("rb", buffering=0) as file:
            while got := file.readinto(block):
                read += got
                while read >= batch_bytes:
                    read -= batch_bytes
                    yield range(BATCH)


def bare_codec(files: Sequence[Path], passes: int) -> Batches:
    """soundfile on FLAC files, two threads; each decodes into one array again and again."""

    def decode(paths: Sequence[Path]) -> None:
        if not hasattr(_own, "row"):
            _own.row = np.ones(soundfile.info(paths[0]).frames, dtype=np.int16)
        for path in paths:
            soundfile.read(path, dtype="int16", out=_own.row)

    batches = [files[at : at + BATCH] for at in range(0, len(files) - BATCH + 1, BATCH)] * passes
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(decode, batches):
            yield range(BATCH)


def launch_rate(shards: Path, clips_per_s: int, held: Held | None, seconds: float) -> float:
    """Small operations/s of one thread that takes so many clips/s; at 0 the buffers are full and nothing is read.

    The training thread shares the interpreter lock with the reader threads, and memory bandwidth with their copies.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batches = iter(planned(shards, held=held))
    try:
        for _ in range(2 * DEFAULTS.prefetch):  # all buffers are in use
            next(batches)
        time.sleep(0.1)  # … and filled
        values = torch.zeros(64)
        launched = delivered = 0
        begin = now = time.perf_counter()
        while now - begin < seconds:
            for _ in range(OPERATIONS):
                values.add_(1.0)
            launched += OPERATIONS
            while delivered < (now - begin) * clips_per_s - BATCH:
                next(batches)
                delivered += BATCH
            now = time.perf_counter()
        return launched / (now - begin)
    finally:
        batches.close()  # type: ignore[attr-defined]
        torch.set_num_threads(threads)


def beside_copies(held: Held, launches: Callable[[], float]) -> float:
    """The same while another process copies as many clips/s: what their bytes cost, without the interpreter's lock."""
    spawn = multiprocessing.get_context("spawn")
    begun = spawn.Event()
    clips = len(held.layout.order)
    words = (clips, len(held.samples) // clips, CLIPS_PER_S, begun)
    process = spawn.Process(target=copy_clips, args=words, daemon=True)
    process.start()
    try:
        begun.wait()
        return launches()
    finally:
        process.kill()
        process.join()


def copy_clips(clips: int, frames: int, clips_per_s: int, begun: Event) -> None:
    """Gather batches of random clips from memory into one buffer, without end."""
    torch.set_num_threads(1)
    samples, batch = torch.ones(clips, frames, dtype=torch.int16), torch.ones(BATCH, frames, dtype=torch.int16)
    start = time.perf_counter()
    for done in count(1):
        torch.index_select(samples, 0, torch.randint(clips, (BATCH,)), out=batch)
        begun.set()
        time.sleep(max(0.0, start + done * BATCH / clips_per_s - time.perf_counter()))


def part(pcm: Sequence[Contender], flac: Sequence[Contender], launches: dict[str, Rounds], size: str) -> Part:
    """Tables and goals; the floor stands first in its table."""
    launched = {way: ratios(found, launches[IDLE]) for way, found in launches.items()}
    rows = [[way, spread(found), spread(launched[way], 3)] for way, found in launches.items()]
    title = "Small operations that the training thread launches while it takes clips (taking them is part of it)"
    return Part(
        tables=[
            speed_table(f"{size}, PCM: int16 batches of {BATCH} in this process. Median (range)", pcm),
            speed_table(f"{size}, FLAC", flac),
            Table(title, ["it takes", "operations/s", "× idle"], rows),
        ],
        goals=[
            Goal("FLAC by the loader / the bare codec", ratios(flac[1].clips_per_s, flac[0].clips_per_s), 0.9),
            Goal("launches of the training thread at 16,000 clips/s from memory / idle", launched[MEMORY], 0.97),
        ],
        remarks=["The floors read the tars, and the FLAC files in them, that `shards.pack` wrote."],
    )


def speed_table(title: str, contenders: Sequence[Contender]) -> Table:
    """All of them beside the first, which is the floor."""
    floor = contenders[0]
    rows = [
        [c.name, spread(c.clips_per_s), spread(c.cpu_us), spread(ratios(c.clips_per_s, floor.clips_per_s), 2)]
        for c in contenders
    ]
    return Table(title, ["reader", "clips/s", "CPU µs a clip", f"× {floor.name}"], rows)
