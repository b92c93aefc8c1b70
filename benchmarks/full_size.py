"""Every config of S1 and S2 as it is, started on a set of DCASE 2020's size: memory, step time, start-up.

python -m benchmarks.full_size            (make full-size)

The set has the 41 classes and as many clips of 10 s as DCASE 2020 Task 2, development, additional training and
evaluation data together, but no sound in them (speed/start_up_set.py). Each config trains a few updates under torchrun
and is then stopped by SIGTERM, as a batch system would: nothing is evaluated.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from asd.config.load import load_config
from asd.errors import run_main
from asd.files.paths import user_path
from asd.text.markdown import markdown_table
from benchmarks.machine import described, machine
from benchmarks.results.slices import CONFIGS, SLICES
from benchmarks.running import ROOT, training
from benchmarks.sections import replace_section
from benchmarks.speed.start_up_set import CLASSES, sparse_set

PAGE = ROOT / "docs" / "results.md"
TRAIN, TEST = 20_119 + 16_164, 10_868 + 7_103  # clips: development, and additional or evaluation data
PART = "fan"  # the machine type of configs that are for one type at a time


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=user_path, default=Path("data/full_size"), help="folder of the set and the runs")
    parser.add_argument("--page", type=user_path, default=PAGE, help="page whose generated part is renewed")
    parser.add_argument("--steps", type=int, default=2, help="updates of each config (default 2); the first is warm-up")
    parser.add_argument("--ranks", type=int, default=2, help="ranks of each run (default 2)")
    parser.add_argument("--accumulate", type=int, default=1, help="parts of a batch, where memory is short (default 1)")
    parser.add_argument("--precision", default="fp32", help="distributed.precision (default fp32)")
    args = parser.parse_args(argv)
    shards = sparse_set(args.work / "silent", TRAIN, TEST)
    starts: list[list[str]] = []
    try:
        for name in dict.fromkeys(row.config for row in SLICES):
            starts.append(start(name, shards, args))
            print(*starts[-1], sep=", ", flush=True)
    finally:
        shutil.rmtree(args.work / "runs", ignore_errors=True)
    replace_section(args.page, "full size", section(starts, args))
    print(args.page)


def start(name: str, shards: Path, args: argparse.Namespace) -> list[str]:
    """Train a config's first updates under torchrun, then stop it by SIGTERM: a row of the table."""
    path, run = CONFIGS / f"{name}.yaml", args.work / "runs" / name
    words = ["train.log_every=1", f"distributed.precision={args.precision}", f"train.accumulate={args.accumulate}"]
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
    return (
        f"{TRAIN:,} training and {TEST:,} test clips of 10 s without sound, {len(CLASSES)} classes; "
        f"batches of 64 crops of 10 s; {args.steps} updates of each config, the first left out of the step time; "
        f"{args.ranks} rank(s), {args.precision}, {described(machine())}; "
        f"`train.accumulate` {args.accumulate}. Configs for one machine type at a time: {PART}. "
        f"Start-up: from the command to the first batch, imports included.\n\n{markdown_table(head, starts)}"
    )


if __name__ == "__main__":
    run_main(main)
