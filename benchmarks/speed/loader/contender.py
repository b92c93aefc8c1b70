"""One way of reading: what it delivers is checked first, then it is measured in rounds."""

from __future__ import annotations

import resource
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from asd.errors import UserError
from benchmarks.speed.measure import Rounds

BATCH = 64
WARM_UP = 8  # batches before the clock starts: workers have started, buffers are in use

Batches = Iterator[Sized]  # of BATCH clips each: (64, T) int16


@dataclass
class Contender:
    """`batches(passes)` goes through the set that often; a floor's batches hold no particular clips."""

    name: str
    batches: Callable[[int], Batches]
    passes: int = 4
    is_floor: bool = False
    clips_per_s: Rounds = field(default_factory=list)
    cpu_us: Rounds = field(default_factory=list)  # of a clip, with all processes


def check_equal(contenders: Sequence[Contender], clips: int) -> None:
    """All deliver the same clips, each once; this also brings every file into the page cache."""
    first: set[int] = set()
    for contender in contenders:
        rows = (row for batch in contender.batches(1) for row in batch)  # type: ignore[attr-defined]
        found = Counter(zlib.crc32(row.numpy()) for row in rows)
        if found.total() != clips or len(found) != clips:
            raise UserError(f"{contender.name}: {found.total()} clips, {len(found)} different ones, of {clips}")
        first = first or set(found)
        if set(found) != first:
            raise UserError(f"{contender.name}: other samples than {contenders[0].name}")


def time_once(contender: Contender) -> float:
    """One measurement, from the batch behind the warm-up to the last: clips/s."""
    batches = contender.batches(contender.passes)
    for _ in range(WARM_UP):
        next(batches)
    clips, begin, cpu = 0, time.perf_counter(), tree_cpu_s()
    for batch in batches:
        clips += len(batch)
        end = time.perf_counter()  # behind the last batch: taking workers down is not counted
    contender.clips_per_s.append(clips / (end - begin))
    contender.cpu_us.append((tree_cpu_s() - cpu) / clips * 1e6)
    return contender.clips_per_s[-1]


def tree_cpu_s() -> float:
    """Seconds of CPU of this process and of all processes that it started, ended or not."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended just now
            total += sum(child.cpu_times()[:2])
    return total
