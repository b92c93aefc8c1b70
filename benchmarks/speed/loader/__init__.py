"""Reading clips into this process: ours beside floors and other loaders, and what it costs the training thread.

Every reader delivers int16 batches of 64 whole clips from the page cache. Each one's clips are counted and their
checksums compared before the clock starts; it starts behind eight batches, when workers run and buffers are in use.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.speed.loader import ours, peers
from benchmarks.speed.loader.contender import Contender, check_equal, time_once
from benchmarks.speed.loader.sets import Sets, make_sets
from benchmarks.speed.measure import Rounds, interleaved, ratios, spread
from benchmarks.speed.part import Goal, Part, Table

CLIPS, CLIP_S = 1024, 10.0
RATE, LAUNCH_S = 16_000, 2.0  # clips/s of one GPU that is fed well
FED = {"idle": 0, "fed": RATE}
PEERS = (("webdataset", 8.0), ("SPDL", 1.5))
READ_FLOOR = "floor: read() by 1 MiB, 1 core"
OURS = "ours, 2 threads, runs of 8"
OURS_FLAC = "ours, FLAC, 2 threads"


def run(args: argparse.Namespace) -> Part:
    """Everything; some minutes."""
    return measured(args.work, args.rounds, CLIPS, CLIP_S, LAUNCH_S)


def measured(work: Path, rounds: int, clips: int, clip_s: float, launch_s: float) -> Part:
    """The part for another size of set."""
    say = Console().print
    if not peers.SPDL:
        say("SPDL is not installed: pip install --no-deps -r requirements-bench.txt")
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="loader-", dir=work) as folder:
        say(f"loader: making {clips} clips of {clip_s:g} s in all formats, and checking that all readers deliver them")
        sets = make_sets(Path(folder) / "sets", clips, clip_s)
        pcm, flac = pcm_contenders(sets), flac_contenders(sets)
        for contenders in (pcm, flac):
            check_equal([c for c in contenders if not c.is_floor], clips)
            say("loader: " + ", ".join(c.name for c in contenders))
            interleaved({c.name: partial(time_once, c) for c in contenders}, rounds)
        say("loader: the training thread's launches")
        takes = {name: partial(ours.launch_rate, sets.root / "pcm", rate, launch_s) for name, rate in FED.items()}
        launches = interleaved(takes, rounds)
    return part(pcm, flac, launches, f"{clips:,} clips of {clip_s:g} s")


def pcm_contenders(sets: Sets) -> list[Contender]:
    return [
        Contender(READ_FLOOR, partial(peers.read_blocks, sets.tars("pcm"), sets.samples), 8, is_floor=True),
        Contender(OURS, partial(ours.planned, sets.root / "pcm", 8), 8),
        Contender("ours, 2 threads, single clips", partial(ours.planned, sets.root / "pcm", 1), 8),
        *peers.peers(sets),
    ]


def flac_contenders(sets: Sets) -> list[Contender]:
    codec = partial(peers.bare_codec, sorted(map(str, (sets.root / "flac_files").glob("*.flac"))))
    tars = sets.tars("flac")
    return [
        Contender("floor: bare codec, 2 threads", partial(codec, ThreadPoolExecutor), 1, is_floor=True),
        Contender("floor: bare codec, 2 processes", partial(codec, ProcessPoolExecutor), 1, is_floor=True),
        Contender(OURS_FLAC, partial(ours.planned, sets.root / "flac", 8), 1),
        Contender("webdataset, FLAC, 2 workers", partial(peers.from_webdataset, tars, peers.flac_samples, 2), 1),
    ]


def part(pcm: Sequence[Contender], flac: Sequence[Contender], launches: dict[str, Rounds], size: str) -> Part:
    """Tables and goals of what was measured."""
    own, own_flac = named(pcm, OURS)[0], named(flac, OURS_FLAC)[0]
    launched = ratios(launches["fed"], launches["idle"])
    rows = [["idle loader", spread(launches["idle"]), "1"]]
    rows.append([f"{RATE:,}", spread(launches["fed"]), spread(launched, 3)])
    title = "Small operations that the training thread launches while it is given clips (fetching them is part of it)"
    return Part(
        tables=[
            speed_table(f"{size}, PCM: int16 batches of 64 in this process. Median (range)", pcm),
            speed_table(f"{size}, FLAC", flac),
            Table(title, ["clips/s", "operations/s", "× idle"], rows),
        ],
        goals=[
            Goal("one-core read floor", against(own, named(pcm, READ_FLOOR)), 1.2),
            *(Goal(f"{p} at its best", against(own, named(pcm, p)), goal) for p, goal in PEERS if named(pcm, p)),
            Goal("FLAC: the bare codec on all cores", against(own_flac, named(flac, "floor")), 0.9),
            Goal("launch rate of the training thread at 16,000 clips/s / idle", launched, 0.97),
        ],
        remarks=["webdataset, SPDL and the FLAC readers read the tars that `shards.pack` wrote."],
    )


def named(contenders: Sequence[Contender], start: str) -> list[Contender]:
    return [c for c in contenders if c.name.startswith(start)]


def against(own: Contender, others: Sequence[Contender]) -> Rounds:
    """Our speed over the best of the others, round by round."""
    return ratios(own.clips_per_s, [max(speeds) for speeds in zip(*(c.clips_per_s for c in others), strict=True)])


def speed_table(title: str, contenders: Sequence[Contender]) -> Table:
    """All of them beside the first, which is a floor."""
    floor = contenders[0]
    rows = [
        [c.name, spread(c.clips_per_s), spread(c.cpu_us), spread(ratios(c.clips_per_s, floor.clips_per_s), 2)]
        for c in contenders
    ]
    return Table(title, ["reader", "clips/s", "CPU µs a clip, all processes", f"× {floor.name}"], rows)
