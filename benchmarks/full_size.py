"""Every config of S1 and S2 as it is, started on a set of DCASE 2020's size: memory, step time, start-up.

python -m benchmarks.full_size            (make full-size)

The set has the 41 classes and the clip counts of DCASE 2020 Task 2, development, additional training and evaluation
data together, but clips of half a second, which the reader repeats to fill the configs' crops of 10 s. Each config
trains a few updates under torchrun and is then stopped by SIGTERM, as a batch system would: nothing is evaluated.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from asd.config import load_config
from asd.errors import run_main
from asd.files import user_path
from asd.markdown import markdown_table
from benchmarks.machine import described, machine
from benchmarks.results.slices import CONFIGS, SLICES
from benchmarks.running import ROOT, training
from benchmarks.sections import replace_section
from shards import pack
from shards.progress import clip_bar
from shards.synth.clip import DEFAULT_SNR_DB, ROLES, Clip
from shards.synth.factory import CLIPS_PER_JOB, ClipsJob, FactoryConfig, write_clips
from shards.synth.layouts import LAYOUTS
from shards.workers import available_cores, run_jobs

PAGE = ROOT / "docs" / "results.md"
CLIP_S = 0.5
Counts = tuple[int, int, int]  # training clips, normal and anomalous test clips
TOY_CAR: dict[int, Counts] = {1: (1000, 350, 264)} | dict.fromkeys((2, 3, 4), (1000, 350, 265))
TOY_CONVEYOR: dict[int, Counts] = {1: (1000, 800, 400), 2: (1000, 800, 355), 3: (1000, 799, 355)}
COUNTS: dict[str, dict[int, Counts]] = {
    "ToyCar": TOY_CAR | dict.fromkeys((5, 6, 7), (1000, 250, 265)),
    "ToyConveyor": TOY_CONVEYOR | dict.fromkeys((4, 5, 6), (1000, 200, 355)),
    "fan": {
        0: (911, 100, 407), 1: (934, 100, 326), 2: (916, 100, 359), 3: (912, 100, 358), 4: (933, 100, 348),
        5: (1000, 109, 349), 6: (915, 100, 361),
    },
    "pump": {
        0: (906, 100, 143), 1: (903, 100, 116), 2: (905, 100, 111), 3: (606, 100, 113), 4: (602, 100, 100),
        5: (908, 100, 248), 6: (936, 100, 102),
    },
    "slider": {
        0: (968, 100, 356), 1: (968, 100, 178), 2: (968, 100, 267), 3: (968, 100, 178), 4: (434, 100, 178),
        5: (434, 100, 178), 6: (434, 100, 89),
    },
    "valve": {
        0: (891, 100, 119), 1: (769, 100, 120), 2: (608, 100, 120), 3: (863, 100, 120), 4: (900, 100, 120),
        5: (899, 100, 400), 6: (892, 100, 120),
    },
}  # fmt: skip
LAYOUT = "dcase2020"
PART = "fan"  # the machine type of configs that are for one type at a time


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=user_path, default=Path("data/full_size"), help="folder of the set and the runs")
    parser.add_argument("--page", type=user_path, default=PAGE, help="page whose generated part is renewed")
    parser.add_argument("--steps", type=int, default=2, help="updates of each config (default 2); the first is warm-up")
    parser.add_argument("--ranks", type=int, default=2, help="ranks of each run (default 2)")
    parser.add_argument("--accumulate", type=int, default=1, help="parts of a batch, where memory is short (default 1)")
    parser.add_argument("--precision", default="fp32", help="train.precision (default fp32)")
    args = parser.parse_args(argv)
    shards = make_set(args.work)
    starts: list[list[str]] = []
    try:
        for name in published_configs():
            starts.append(start(name, shards, args))
            print(*starts[-1], sep=", ", flush=True)
    finally:
        shutil.rmtree(args.work / "runs", ignore_errors=True)
    replace_section(args.page, "full size", section(starts, args))
    print(args.page)


def published_configs() -> list[str]:
    return list(dict.fromkeys(row.config for row in SLICES))


def all_clips() -> Iterator[Clip]:
    """Every clip of the set, by the factory that the other pages use."""
    for machine_type, ids in COUNTS.items():
        for machine_id, counts in ids.items():
            for role, count in zip(ROLES, counts, strict=True):
                for index in range(count):
                    yield Clip(0, machine_type, machine_id, role, index)


def make_set(work: Path) -> Path:
    """The packed set, made where it is not there yet; the recordings it was packed from are not kept."""
    shards = work / "shards"
    if not (shards / "manifest.json").is_file():
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=work) as recordings:
            write_recordings(Path(recordings), list(all_clips()), CLIP_S)
            pack.main(["--layout", LAYOUT, "--source", recordings, "--out", str(shards)])
    return shards


def write_recordings(root: Path, clips: Sequence[Clip], clip_s: float) -> None:
    """Render clips of clip_s seconds below root, in DCASE 2020 layout."""
    for folder in {(root / LAYOUTS[LAYOUT].path(clip)).parent for clip in clips}:
        folder.mkdir(parents=True)
    config = FactoryConfig(LAYOUT, 0, clip_s, 0, 0, 0, 0, DEFAULT_SNR_DB)  # the counts are those of the clips
    parts = [list(clips[at : at + CLIPS_PER_JOB]) for at in range(0, len(clips), CLIPS_PER_JOB)]
    with clip_bar("synthesising", len(clips)) as bar:
        run_jobs(write_clips, [ClipsJob(config, part, root) for part in parts], available_cores(), bar)


def start(name: str, shards: Path, args: argparse.Namespace) -> list[str]:
    """Train a config's first updates under torchrun, then stop it by SIGTERM: a row of the table."""
    path, run = CONFIGS / f"{name}.yaml", args.work / "runs" / name
    words = ["train.log_every=1", f"train.precision={args.precision}", f"train.accumulate={args.accumulate}"]
    row = next(row for row in SLICES if row.config == name)
    if row.by_type:
        words.append(f"data.machine_types=[{PART}]")
    if row.starts_from is not None:
        words.append(f"init_from={args.work / 'runs' / row.starts_from}")
    config = load_config(path, [*words, f"data.shards={shards}"])  # refuse a mistake before anything starts
    begin = time.monotonic()
    with training(shards, run, ["--config", str(path), *words], args.ranks) as job:
        start_s = job.wait_for(lambda: "run folder" in job.text) - begin
        job.wait_for(lambda: len(job.steps) >= args.steps)
    classes, parameters = (re.search(what, job.text) for what in (r"(\d+) classes:", r"([\d,]+) parameters"))
    assert classes is not None and parameters is not None, job.text
    step_s = statistics.median(record["step_s"] for record in job.steps[1:] or job.steps)
    peak_gib = max(record["peak_mem_gib"] for record in job.steps)
    speed = config.train.global_batch / step_s
    return [name, classes[1], parameters[1], f"{peak_gib:.2f}", f"{step_s:.2f}", f"{speed:.1f}", f"{start_s:.1f}"]


def section(starts: Sequence[Sequence[str]], args: argparse.Namespace) -> str:
    """The part of the page."""
    head = ["config", "classes", "parameters", "peak memory of a rank, GiB", "step, s", "clips/s", "start-up, s"]
    train, test = (sum(sum(c[a:b]) for ids in COUNTS.values() for c in ids.values()) for a, b in ((0, 1), (1, 3)))
    return (
        f"{train:,} training and {test:,} test clips of {CLIP_S:g} s, {sum(map(len, COUNTS.values()))} classes; "
        f"batches of 64 crops of 10 s; {args.steps} updates of each config, the first left out of the step time; "
        f"{args.ranks} rank(s), {args.precision}, {described(machine())}; "
        f"`train.accumulate` {args.accumulate}. Configs for one machine type at a time: {PART}. "
        f"Start-up: from the command to the first batch, imports included.\n\n{markdown_table(head, starts)}"
    )


if __name__ == "__main__":
    run_main(main)
